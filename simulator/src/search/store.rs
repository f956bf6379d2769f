//! All indexes with their documents.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{definition::Definition, problems};
use crate::azure::Problem;

/// The indexes of a service, by name.
#[derive(Debug, Default)]
pub(crate) struct Indexes(RwLock<BTreeMap<String, Index>>);

/// An index.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) definition: Definition,
    pub(super) documents: BTreeMap<String, Document>,
    writes: BTreeMap<String, u64>,
    deletes: u64,
}

/// A document. Its vectors are apart, as JSON numbers take eight times their memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) fields: Map<String, Value>,
    pub(super) vectors: HashMap<String, Vec<f32>>,
}

/// What `GET /_index/{name}` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexStats {
    /// Documents in the index now.
    pub documents: u64,
    /// How often each key was written with success, by whichever action. Also keys that were
    /// deleted since.
    pub writes: BTreeMap<String, u64>,
    /// Documents that were deleted.
    pub deletes: u64,
}

/// Whether something was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    New,
    Old,
}

impl Indexes {
    pub(super) fn create(&self, definition: Definition) -> Result<(), Problem> {
        let mut indexes = self.write();
        if indexes.contains_key(&definition.name) {
            return Err(problems::exists(&definition.name));
        }
        indexes.insert(definition.name.clone(), Index::new(definition));
        Ok(())
    }

    /// Creates or changes an index, if `may` says so of the etag that is there.
    pub(super) fn replace(
        &self,
        definition: Definition,
        may: impl Fn(Option<&str>) -> bool,
    ) -> Result<Written, Problem> {
        let mut indexes = self.write();
        let old = indexes.get_mut(&definition.name);
        if !may(old.as_ref().map(|index| index.definition.etag.as_str())) {
            return Err(problems::condition_failed());
        }
        match old {
            Some(index) => {
                definition.succeed(&index.definition)?;
                index.definition = definition;
                Ok(Written::Old)
            }
            None => {
                indexes.insert(definition.name.clone(), Index::new(definition));
                Ok(Written::New)
            }
        }
    }

    pub(super) fn delete(
        &self,
        name: &str,
        may: impl Fn(Option<&str>) -> bool,
    ) -> Result<(), Problem> {
        let mut indexes = self.write();
        let index = indexes
            .get(name)
            .ok_or_else(|| problems::no_such_index(name))?;
        if !may(Some(&index.definition.etag)) {
            return Err(problems::condition_failed());
        }
        indexes.remove(name);
        Ok(())
    }

    pub(super) fn definitions(&self) -> Vec<Definition> {
        let indexes = self.lock();
        indexes
            .values()
            .map(|index| index.definition.clone())
            .collect()
    }

    pub(super) fn read<T>(&self, name: &str, look: impl FnOnce(&Index) -> T) -> Result<T, Problem> {
        let indexes = self.lock();
        let index = indexes
            .get(name)
            .ok_or_else(|| problems::no_such_index(name))?;
        Ok(look(index))
    }

    pub(super) fn change<T>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Index) -> T,
    ) -> Result<T, Problem> {
        let mut indexes = self.write();
        let index = indexes.get_mut(name);
        Ok(change(index.ok_or_else(|| problems::no_such_index(name))?))
    }

    pub(crate) fn stats(&self, name: &str) -> Option<IndexStats> {
        let indexes = self.lock();
        indexes.get(name).map(|index| IndexStats {
            documents: index.documents.len() as u64,
            writes: index.writes.clone(),
            deletes: index.deletes,
        })
    }

    pub(crate) fn clear(&self) {
        self.write().clear();
    }

    fn lock(&self) -> RwLockReadGuard<'_, BTreeMap<String, Index>> {
        // Every document is whole after every statement.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Index>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn new(definition: Definition) -> Self {
        Self {
            definition,
            documents: BTreeMap::new(),
            writes: BTreeMap::new(),
            deletes: 0,
        }
    }

    pub(super) fn upload(&mut self, key: &str, document: Document) -> Written {
        *self.writes.entry(key.to_owned()).or_default() += 1;
        match self.documents.insert(key.to_owned(), document) {
            None => Written::New,
            Some(_) => Written::Old,
        }
    }

    /// Replaces the fields that are given; whether there was a document to merge into.
    pub(super) fn merge(&mut self, key: &str, document: Document) -> bool {
        let Some(old) = self.documents.get_mut(key) else {
            return false;
        };
        *self.writes.entry(key.to_owned()).or_default() += 1;
        for name in document.fields.keys() {
            // A vector may be taken away with null.
            old.vectors.remove(name);
        }
        old.fields.extend(document.fields);
        old.vectors.extend(document.vectors);
        true
    }

    pub(super) fn delete(&mut self, key: &str) {
        if self.documents.remove(key).is_some() {
            self.deletes += 1;
        }
    }
}
