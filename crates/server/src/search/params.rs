//! The parameters of a URL.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use crate::http::Failure;

/// Parameters that any request may have and that change nothing here, or that the frame around all handlers heeds.
const EVERYWHERE: [&str; 4] = ["pretty", "human", "error_trace", "filter_path"];

/// The parameters of a request by name; the last counts where one stands several times.
#[derive(Clone, Debug, Default)]
pub struct Params {
    values: BTreeMap<String, String>,
    path: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let pairs: Query<Vec<(String, String)>> = Query::from_request_parts(parts, state)
            .await
            .map_err(|error| Failure::IllegalArgument(format!("the URL's parameters cannot be read: {error}")))?;
        Ok(Self { values: pairs.0.into_iter().collect(), path: parts.uri.path().to_owned() })
    }
}

impl Params {
    /// A parameter that is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A truth value; a parameter without a value is true.
    ///
    /// # Errors
    /// If it is something else.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.values.get(name).map(String::as_str) {
            None => Ok(None),
            Some("" | "true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => {
                let reason =
                    format!("Failed to parse value [{other}] of [{name}] as only [true] or [false] are allowed.");
                Err(Failure::IllegalArgument(reason))
            }
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// If it is something else.
    pub fn count(&self, name: &str) -> Result<Option<usize>, Failure> {
        let bad =
            |value| Failure::IllegalArgument(format!("Failed to parse int parameter [{name}] with value [{value}]"));
        self.get(name).map(|value| value.parse().map_err(|_| bad(value))).transpose()
    }

    /// Refuses parameters that are not among `known`.
    ///
    /// # Errors
    /// The first that is not known.
    pub fn only(&self, known: &[&str]) -> Result<(), Failure> {
        let unknown =
            self.values.keys().find(|name| !known.contains(&name.as_str()) && !EVERYWHERE.contains(&name.as_str()));
        match unknown {
            None => Ok(()),
            Some(name) => Err(Failure::IllegalArgument(format!(
                "request [{}] contains unrecognized parameter: [{name}]",
                self.path
            ))),
        }
    }
}
