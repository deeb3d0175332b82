//! Who may do what.

use std::collections::BTreeSet;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rusqlite::{OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use crate::database::{add_audit, random_text};
use crate::{AuditEntry, Control, ControlError};

/// Memory that a hash of a password takes, in KiB, and how often it is gone through: OWASP's recommendation for argon2id.
const HASH_MEMORY: u32 = 19 * 1024;
const HASH_ROUNDS: u32 = 2;
/// The shortest password.
const MIN_PASSWORD: usize = 8;
/// The longest one, in bytes.
const MAX_PASSWORD: usize = 1024;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Read, and change rules.
    Author,
    /// Read, and work on alerts.
    Analyst,
    /// Read events, alerts and rules.
    Reader,
    /// Send events, and nothing else.
    Ingest,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Author, Self::Analyst, Self::Reader, Self::Ingest];

    /// Its name: `admin`, `author`, `analyst`, `reader`, `ingest`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Author => "author",
            Self::Analyst => "analyst",
            Self::Reader => "reader",
            Self::Ingest => "ingest",
        }
    }

    /// The role of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

fn write_roles(roles: &BTreeSet<Role>) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(",")
}

fn read_roles(text: &str) -> BTreeSet<Role> {
    text.split(',').filter_map(Role::parse).collect()
}

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name; of an API key, its owner's.
    pub name: String,
    /// What they may do.
    pub roles: BTreeSet<Role>,
    /// The id of the API key that was shown.
    pub api_key: Option<String>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// What they may do.
    pub roles: BTreeSet<Role>,
    /// When the user was made, in nanoseconds since the Unix epoch.
    pub created_at: i64,
}

/// An API key as it is kept. The key itself is known to nobody but its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// The user who made it.
    pub owner: String,
    /// What it allows.
    pub roles: BTreeSet<Role>,
    /// When it was made, in nanoseconds since the Unix epoch.
    pub created_at: i64,
    /// When it ends to be of use.
    pub expires: Option<i64>,
    /// It was taken back.
    pub invalidated: bool,
}

/// An API key that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Its id.
    pub id: String,
    /// The key. It is not kept and cannot be shown again.
    pub api_key: String,
    /// Both, as they stand behind `Authorization: ApiKey`.
    pub encoded: String,
}

impl std::fmt::Debug for NewApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn argon2() -> Result<Argon2<'static>, ControlError> {
    let params =
        Params::new(HASH_MEMORY, HASH_ROUNDS, 1, None).map_err(|error| ControlError::Crypto(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_password(password: &str) -> Result<String, ControlError> {
    let length = password.chars().count();
    if length < MIN_PASSWORD || password.len() > MAX_PASSWORD {
        return Err(ControlError::Invalid(format!(
            "a password has {MIN_PASSWORD} characters at least, and {MAX_PASSWORD} bytes at most"
        )));
    }
    let hash = argon2()?.hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| ControlError::Crypto(error.to_string()))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte))
}

impl Control {
    /// Adds a user.
    ///
    /// # Errors
    /// If there is one of this name, or name or password will not do.
    pub fn create_user(
        &self,
        name: &str,
        password: &str,
        roles: &BTreeSet<Role>,
        by: &str,
        now: i64,
    ) -> Result<(), ControlError> {
        if !is_name(name) {
            let said = "a user's name has letters, digits and . _ - @ only, 128 at most";
            return Err(ControlError::Invalid(said.to_owned()));
        }
        let hash = hash_password(password)?;
        self.write(|transaction| {
            let sql = "INSERT OR IGNORE INTO users VALUES (?1, ?2, ?3, ?4)";
            if transaction.execute(sql, params![name, hash, write_roles(roles), now])? == 0 {
                return Err(ControlError::Conflict { what: "user", name: name.to_owned() });
            }
            add_audit(transaction, &AuditEntry::new(now, by, "user_create", name, write_roles(roles)))
        })
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// If there is no such user, or the password will not do.
    pub fn set_password(&self, name: &str, password: &str, by: &str, now: i64) -> Result<(), ControlError> {
        let hash = hash_password(password)?;
        self.write(|transaction| {
            if transaction.execute("UPDATE users SET password = ?2 WHERE name = ?1", [name, &hash])? == 0 {
                return Err(ControlError::NotFound { what: "user", name: name.to_owned() });
            }
            add_audit(transaction, &AuditEntry::new(now, by, "user_password", name, ""))
        })
    }

    /// Removes a user, and takes back their API keys.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn delete_user(&self, name: &str, by: &str, now: i64) -> Result<(), ControlError> {
        self.write(|transaction| {
            if transaction.execute("DELETE FROM users WHERE name = ?1", [name])? == 0 {
                return Err(ControlError::NotFound { what: "user", name: name.to_owned() });
            }
            transaction.execute("UPDATE api_keys SET invalidated = 1 WHERE owner = ?1", [name])?;
            add_audit(transaction, &AuditEntry::new(now, by, "user_delete", name, ""))
        })
    }

    /// All users, by name.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn users(&self) -> Result<Vec<User>, ControlError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT name, roles, created_at FROM users ORDER BY name")?;
            let users = statement.query_map([], |row| {
                let roles: String = row.get(1)?;
                Ok(User { name: row.get(0)?, roles: read_roles(&roles), created_at: row.get(2)? })
            })?;
            Ok(users.collect::<Result<_, _>>()?)
        })
    }

    /// Who this is; `None` if there is no such user or the password is another. It takes the same time in any case, some
    /// hundredths of a second.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn verify_password(&self, name: &str, password: &str) -> Result<Option<Identity>, ControlError> {
        let known = self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT password, roles FROM users WHERE name = ?1")?;
            let found = statement.query_row([name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
            Ok(found.optional()?)
        })?;
        let Some((hash, roles)) = known else {
            _ = argon2()?.hash_password(password.as_bytes());
            return Ok(None);
        };
        let hash = PasswordHash::new(&hash).map_err(|error| ControlError::Damaged(format!("user {name}: {error}")))?;
        let is_right = password.len() <= MAX_PASSWORD && argon2()?.verify_password(password.as_bytes(), &hash).is_ok();
        Ok(is_right.then(|| Identity { name: name.to_owned(), roles: read_roles(&roles), api_key: None }))
    }

    /// Makes an API key.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn create_api_key(
        &self,
        name: &str,
        roles: &BTreeSet<Role>,
        expires: Option<i64>,
        by: &str,
        now: i64,
    ) -> Result<NewApiKey, ControlError> {
        if name.is_empty() || name.len() > 256 {
            return Err(ControlError::Invalid("an API key has a name, of 256 bytes at most".to_owned()));
        }
        let (id, api_key) = (random_text(20)?, random_text(32)?);
        let hash = hash_key(&id, &api_key);
        self.write(|transaction| {
            let sql = "INSERT INTO api_keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)";
            transaction.execute(sql, params![id, name, hash, by, write_roles(roles), now, expires])?;
            add_audit(transaction, &AuditEntry::new(now, by, "api_key_create", &id, name))
        })?;
        let encoded = BASE64_STANDARD.encode(format!("{id}:{api_key}"));
        Ok(NewApiKey { id, api_key, encoded })
    }

    /// Who holds this key, as it stands behind `Authorization: ApiKey`; `None` if nobody does any more.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn verify_api_key(&self, encoded: &str, now: i64) -> Result<Option<Identity>, ControlError> {
        let decoded = BASE64_STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((id, key)) = decoded.as_deref().and_then(|text| text.split_once(':')) else { return Ok(None) };
        let found = self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT *, hash FROM api_keys WHERE id = ?1")?;
            let row = |row: &Row<'_>| Ok((api_key(row)?, row.get::<_, Vec<u8>>("hash")?));
            Ok(statement.query_row([id], row).optional()?)
        })?;
        let Some((known, hash)) = found else { return Ok(None) };
        let is_right = is_equal(&hash, &hash_key(id, key));
        let is_valid = !known.invalidated && known.expires.is_none_or(|expires| now < expires);
        Ok((is_right && is_valid).then(|| Identity { name: known.owner, roles: known.roles, api_key: Some(known.id) }))
    }

    /// Takes an API key back.
    ///
    /// # Errors
    /// If there is no such key.
    pub fn invalidate_api_key(&self, id: &str, by: &str, now: i64) -> Result<(), ControlError> {
        self.write(|transaction| {
            if transaction.execute("UPDATE api_keys SET invalidated = 1 WHERE id = ?1", [id])? == 0 {
                return Err(ControlError::NotFound { what: "API key", name: id.to_owned() });
            }
            add_audit(transaction, &AuditEntry::new(now, by, "api_key_invalidate", id, ""))
        })
    }

    /// All API keys, newest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn api_keys(&self) -> Result<Vec<ApiKey>, ControlError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM api_keys ORDER BY created_at DESC, id")?;
            Ok(statement.query_map([], api_key)?.collect::<Result<_, _>>()?)
        })
    }
}

fn api_key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let roles: String = row.get("roles")?;
    Ok(ApiKey {
        id: row.get("id")?,
        name: row.get("name")?,
        owner: row.get("owner")?,
        roles: read_roles(&roles),
        created_at: row.get("created_at")?,
        expires: row.get("expires")?,
        invalidated: row.get("invalidated")?,
    })
}

/// A key is 192 random bits: there is nothing to guess that a slow hash would protect, and the id is its salt.
fn hash_key(id: &str, key: &str) -> Vec<u8> {
    Sha256::digest(format!("{id}:{key}")).to_vec()
}

/// Takes as long wherever the first difference is.
fn is_equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |seen, (left, right)| seen | (left ^ right)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, Control) {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
        (folder, control)
    }

    #[test]
    fn users_come_and_go() {
        let (_folder, control) = open();
        let roles = BTreeSet::from([Role::Reader, Role::Author]);
        control.create_user("ann", "correct horse", &roles, "admin", 1).unwrap();
        assert!(matches!(
            control.create_user("ann", "correct horse", &roles, "admin", 1),
            Err(ControlError::Conflict { .. })
        ));
        for (name, password) in
            [("", "correct horse"), ("a b", "correct horse"), ("bob", "short"), ("bob", &"x".repeat(2_000))]
        {
            assert!(matches!(control.create_user(name, password, &roles, "admin", 1), Err(ControlError::Invalid(_))));
        }
        let identity = control.verify_password("ann", "correct horse").unwrap().unwrap();
        assert_eq!(identity, Identity { name: "ann".into(), roles: roles.clone(), api_key: None });
        assert_eq!(control.verify_password("ann", "wrong horse").unwrap(), None);
        assert_eq!(control.verify_password("bob", "correct horse").unwrap(), None);
        control.set_password("ann", "another horse", "ann", 2).unwrap();
        assert_eq!(control.verify_password("ann", "correct horse").unwrap(), None);
        let key = control.create_api_key("shipper", &roles, None, "ann", 3).unwrap();
        assert!(control.verify_api_key(&key.encoded, 3).unwrap().is_some());
        assert_eq!(control.users().unwrap(), [User { name: "ann".into(), roles, created_at: 1 }]);
        control.delete_user("ann", "admin", 4).unwrap();
        assert!(control.delete_user("ann", "admin", 4).is_err());
        assert_eq!(control.verify_api_key(&key.encoded, 5).unwrap(), None);
        let log = format!("{:?}", control.audit_log(10).unwrap());
        assert!(!log.contains("horse") && !log.contains(&key.api_key), "{log}");
        assert!(!format!("{key:?}").contains(&key.api_key));
    }

    #[test]
    fn api_keys_end() {
        let (_folder, control) = open();
        let roles = BTreeSet::from([Role::Ingest]);
        let key = control.create_api_key("a", &roles, Some(10), "ann", 1).unwrap();
        let identity = control.verify_api_key(&key.encoded, 9).unwrap().unwrap();
        assert_eq!((identity.roles, identity.api_key.as_deref()), (roles.clone(), Some(key.id.as_str())));
        assert_eq!(control.verify_api_key(&key.encoded, 10).unwrap(), None);
        let other = control.create_api_key("b", &roles, None, "ann", 2).unwrap();
        let mixed = BASE64_STANDARD.encode(format!("{}:{}", other.id, key.api_key));
        for odd in ["", "!", "YQ==", &mixed] {
            assert_eq!(control.verify_api_key(odd, 3).unwrap(), None);
        }
        control.invalidate_api_key(&other.id, "ann", 3).unwrap();
        assert_eq!(control.verify_api_key(&other.encoded, 4).unwrap(), None);
        assert!(control.invalidate_api_key("no", "ann", 3).is_err());
        let keys = control.api_keys().unwrap();
        assert_eq!(
            keys.iter().map(|key| (key.name.as_str(), key.invalidated)).collect::<Vec<_>>(),
            [("b", true), ("a", false)]
        );
    }
}
