//! What a path of search names: `/indexes('name')/docs/search.index` or `/indexes/name/docs/index`.

use percent_encoding::percent_decode_str;

use crate::Kind;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Indexes,
    Index(String),
    Stats(String),
    Batch(String),
    Query(String),
    Count(String),
    Document(String, String),
}

impl Target {
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut parts = Vec::new();
        for segment in path.strip_prefix('/')?.split('/') {
            let segment = percent_decode_str(segment).decode_utf8().ok()?;
            match quoted(&segment) {
                // The name of an entity is a part of its own, whichever way it is written.
                Some((entities, name)) => parts.extend([entities.to_owned(), name]),
                None => parts.push(segment.into_owned()),
            }
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Some(match parts[..] {
            ["indexes"] => Self::Indexes,
            ["indexes", name] => Self::Index(name.to_owned()),
            ["indexes", name, "search.stats" | "stats"] => Self::Stats(name.to_owned()),
            ["indexes", name, "docs", "search.index" | "index"] => Self::Batch(name.to_owned()),
            ["indexes", name, "docs", "search.post.search" | "search"] => {
                Self::Query(name.to_owned())
            }
            ["indexes", name, "docs", "$count"] => Self::Count(name.to_owned()),
            ["indexes", name, "docs", key] => Self::Document(name.to_owned(), key.to_owned()),
            _ => return None,
        })
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Batch(_) => Kind::SearchIndex,
            Self::Query(_) | Self::Count(_) | Self::Document(..) => Kind::SearchQuery,
            Self::Indexes | Self::Index(_) | Self::Stats(_) => Kind::SearchAdmin,
        }
    }
}

/// Takes `docs('it''s')` apart.
fn quoted(segment: &str) -> Option<(&str, String)> {
    let (entities, rest) = segment.split_once("('")?;
    let name = rest.strip_suffix("')")?;
    Some((entities, name.replace("''", "'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_path_name_the_same() {
        let batch = Some(Target::Batch("a-1".to_owned()));
        assert_eq!(Target::parse("/indexes('a-1')/docs/search.index"), batch);
        assert_eq!(Target::parse("/indexes(%27a-1%27)/docs/index"), batch);
        assert_eq!(Target::parse("/indexes/a-1/docs/index"), batch);
        let document = Some(Target::Document("a".to_owned(), "k=".to_owned()));
        assert_eq!(Target::parse("/indexes('a')/docs('k%3D')"), document);
        assert_eq!(Target::parse("/indexes/a/docs/k="), document);
        assert_eq!(Target::parse("/indexers"), None);
        assert_eq!(Target::parse("/indexes/a/docs"), None);
    }
}
