//! What shows a service who calls: a key, or a token of Microsoft Entra ID.

use std::{fmt, sync::Arc};

use filefleet_shared::config::Secret;
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    BuildError, CallError, CatalogOptions,
    entra::{Authority, EntraConfig, Token, Tokens},
    transport::{failure, read_body, without_key},
};

/// Puts into requests what shows the service who calls.
#[derive(Clone, Debug)]
pub(crate) struct Signer(Kind);

#[derive(Clone)]
enum Kind {
    Nobody,
    Key {
        header: HeaderName,
        value: HeaderValue,
        key: SecretString,
    },
    Entra(Arc<Tokens>),
}

/// What a configuration says about it: a key or an identity, or nothing.
#[derive(Debug)]
pub(crate) struct Credential<'a> {
    pub(crate) key: Option<&'a Secret>,
    /// The header of the key.
    pub(crate) header: HeaderName,
    /// What stands before the key there.
    pub(crate) prefix: &'a str,
    /// Who asks for tokens, and the scope of these.
    pub(crate) entra: Option<(&'a EntraConfig, &'static str)>,
}

/// How one request was signed; goes with its answer.
#[derive(Clone)]
struct Signature(Option<Arc<Token>>);

impl Signer {
    /// In a rehearsal, one that shows nothing and fetches nothing.
    ///
    /// # Errors
    /// The key cannot be had or sent, or nobody can be asked for tokens.
    pub(crate) fn new(
        service: &str,
        credential: &Credential<'_>,
        options: &CatalogOptions,
    ) -> Result<Self, BuildError> {
        if options.rehearse.is_some() {
            return Ok(Self::nobody());
        }
        if let Some((entra, scope)) = credential.entra {
            let environment = |name: &str| std::env::var(name).ok();
            let authority = Authority::new(service, entra, scope, &environment)?;
            return Ok(Self(Kind::Entra(Tokens::new(authority))));
        }
        let Some(key) = credential.key else {
            return Ok(Self::nobody());
        };
        let signer = Self::key(credential.header.clone(), credential.prefix, key.resolve()?);
        signer.map_err(|source| BuildError::Header {
            service: service.to_owned(),
            source,
        })
    }

    /// One that shows nothing.
    pub(crate) fn nobody() -> Self {
        Self(Kind::Nobody)
    }

    /// # Errors
    /// The key cannot be sent in a header.
    pub(crate) fn key(
        header: HeaderName,
        prefix: &str,
        key: SecretString,
    ) -> Result<Self, InvalidHeaderValue> {
        let mut value = HeaderValue::try_from(format!("{prefix}{}", key.expose_secret()))?;
        value.set_sensitive(true);
        Ok(Self(Kind::Key { header, value, key }))
    }

    /// Sends a request with these headers, signed last, so that nothing can take the place of it.
    ///
    /// # Errors
    /// There is no token to be had, or there was no answer.
    pub(crate) async fn send(
        &self,
        request: RequestBuilder,
        mut headers: HeaderMap,
    ) -> Result<Response, CallError> {
        let signature = self.sign(&mut headers).await?;
        let mut response = request.headers(headers).send().await.map_err(failure)?;
        if let (Kind::Entra(tokens), Some(token)) = (&self.0, &signature.0)
            && response.status() == StatusCode::UNAUTHORIZED
        {
            tokens.refused(token);
        }
        response.extensions_mut().insert(signature);
        Ok(response)
    }

    /// An answer that is no success, without the key or token, which it can repeat.
    pub(crate) async fn open(&self, mut response: Response) -> (StatusCode, HeaderMap, String) {
        let signature = response.extensions_mut().remove::<Signature>();
        let token = signature.and_then(|signature| signature.0);
        let status = response.status();
        let headers = response.headers().clone();
        // The status alone says enough if the body does not come.
        let body = read_body(response).await.unwrap_or_default();
        let secret = token.as_ref().map(|token| token.value()).or(self.secret());
        (status, headers, without_key(&body, secret))
    }

    /// The key, which must not be repeated.
    pub(crate) fn secret(&self) -> Option<&SecretString> {
        match &self.0 {
            Kind::Key { key, .. } => Some(key),
            Kind::Nobody | Kind::Entra(_) => None,
        }
    }

    async fn sign(&self, headers: &mut HeaderMap) -> Result<Signature, CallError> {
        match &self.0 {
            Kind::Nobody => Ok(Signature(None)),
            Kind::Key { header, value, .. } => {
                headers.insert(header.clone(), value.clone());
                Ok(Signature(None))
            }
            Kind::Entra(tokens) => {
                let token = tokens.get().await?;
                headers.insert(AUTHORIZATION, token.header().clone());
                Ok(Signature(Some(token)))
            }
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::Key { header, .. } => f.debug_tuple("Key").field(header).finish(),
            Self::Entra(tokens) => f.debug_tuple("Entra").field(tokens).finish(),
        }
    }
}
