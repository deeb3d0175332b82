//! Who may do what.

use std::collections::BTreeSet;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::audit::add;
use crate::database::random_text;
use crate::{AuditEntry, Control, ControlError};

/// Memory that a hash of a password takes, in KiB, and how often it is gone through: OWASP's recommendation for argon2id.
const HASH_MEMORY: u32 = 19 * 1024;
const HASH_ROUNDS: u32 = 2;
/// Hashes that are computed at a time, which bounds the memory that logins take to 76 MiB.
pub(crate) const HASHES_AT_ONCE: usize = 4;
/// The shortest password.
const MIN_PASSWORD: usize = 8;
/// The longest one, in bytes.
const MAX_PASSWORD: usize = 1024;
/// The longest full name, address or metadata, in bytes.
const MAX_ABOUT: usize = 16 << 10;

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

/// What can be allowed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See events, rules, alerts and the ledger, and search in them.
    Read,
    /// Send events.
    WriteEvents,
    /// Add, change and remove rules, and have them run.
    WriteRules,
    /// Change the workflow of alerts: status, tags, assignees, notes.
    WriteAlerts,
    /// Manage users and everybody's API keys, see the audit log.
    Administer,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Read, Self::WriteEvents, Self::WriteRules, Self::WriteAlerts, Self::Administer];
}

impl Role {
    /// Whether the role gives a permission.
    pub fn allows(self, permission: Permission) -> bool {
        match self {
            Self::Admin => true,
            Self::Author => matches!(permission, Permission::Read | Permission::WriteRules),
            Self::Analyst => matches!(permission, Permission::Read | Permission::WriteAlerts),
            Self::Reader => permission == Permission::Read,
            Self::Ingest => permission == Permission::WriteEvents,
        }
    }
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
    /// Patterns of the indices that they may write to, if they may write; `None` stands for all.
    pub writes: Option<Arc<[String]>>,
}

impl Identity {
    /// Whether one of the roles gives a permission.
    pub fn allows(&self, permission: Permission) -> bool {
        self.roles.iter().any(|role| role.allows(permission))
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// What they may do.
    pub roles: BTreeSet<Role>,
    /// Whether they may log in, and their API keys are of use.
    pub enabled: bool,
    /// What is said of them.
    pub about: About,
    /// When the user was made, in nanoseconds since the Unix epoch.
    pub created_at: i64,
}

/// What is said of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The name that people know them by.
    pub full_name: Option<String>,
    /// Where to write to.
    pub email: Option<String>,
    /// Anything else.
    pub metadata: Map<String, Value>,
}

/// A user as they shall be.
#[derive(Clone)]
pub struct UserUpdate {
    /// A new password; a user who is there already keeps theirs without one.
    pub password: Option<String>,
    /// What they may do.
    pub roles: BTreeSet<Role>,
    /// Whether they may log in.
    pub enabled: bool,
    /// What is said of them.
    pub about: About,
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
    /// Patterns of the indices that may be written to with it; `None` stands for all.
    pub writes: Option<Arc<[String]>>,
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

fn check_roles(roles: &BTreeSet<Role>) -> Result<(), ControlError> {
    match roles.is_empty() {
        true => Err(ControlError::Invalid("at least one role is needed".to_owned())),
        false => Ok(()),
    }
}

/// Refuses a change after which nobody could manage users any more.
fn keep_an_admin(connection: &Connection) -> Result<(), ControlError> {
    let mut statement = connection.prepare_cached("SELECT roles FROM users WHERE enabled = 1")?;
    let mut roles = statement.query_map([], |row| row.get::<_, String>(0))?;
    let has_admin = roles
        .try_fold(false, |has, roles| Ok::<_, rusqlite::Error>(has || read_roles(&roles?).contains(&Role::Admin)))?;
    match has_admin {
        true => Ok(()),
        false => Err(ControlError::Invalid("the last user with the role admin must keep it".to_owned())),
    }
}

fn check_name(name: &str) -> Result<(), ControlError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    if !name.is_empty() && name.len() <= 128 && name.bytes().all(is_plain) {
        return Ok(());
    }
    let said = "a user's name has letters, digits and . _ - @ only, 128 at most";
    Err(ControlError::Invalid(said.to_owned()))
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
        check_name(name)?;
        check_roles(roles)?;
        let hash = self.0.hashing.pass(|| hash_password(password))?;
        self.write(|transaction| {
            let sql = "INSERT INTO users (name, password, roles, created_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO NOTHING";
            if transaction.execute(sql, params![name, hash, write_roles(roles), now])? == 0 {
                return Err(ControlError::Conflict { what: "user", name: name.to_owned() });
            }
            add(transaction, &AuditEntry::new(now, by, "user_create", name, write_roles(roles)))
        })
    }

    /// Makes a user, or makes one that is there as they shall be. Says whether the user is new.
    ///
    /// # Errors
    /// If name, password or roles will not do, a new user has no password, or nobody would be admin any more.
    pub fn put_user(&self, name: &str, update: &UserUpdate, by: &str, now: i64) -> Result<bool, ControlError> {
        check_name(name)?;
        check_roles(&update.roles)?;
        let hash =
            update.password.as_ref().map(|password| self.0.hashing.pass(|| hash_password(password))).transpose()?;
        let about = &update.about;
        let metadata = Value::Object(about.metadata.clone()).to_string();
        if [Some(&metadata), about.full_name.as_ref(), about.email.as_ref()]
            .into_iter()
            .flatten()
            .any(|text| text.len() > MAX_ABOUT)
        {
            return Err(ControlError::Invalid(format!("what is said of a user has {MAX_ABOUT} bytes at most")));
        }
        self.write(|transaction| {
            let values =
                params![name, hash, write_roles(&update.roles), update.enabled, about.full_name, about.email, metadata];
            let sql = "UPDATE users SET password = coalesce(?2, password), roles = ?3, enabled = ?4, full_name = ?5,
                 email = ?6, metadata = ?7 WHERE name = ?1";
            let is_new = transaction.execute(sql, values)? == 0;
            if is_new {
                let Some(hash) = &hash else {
                    return Err(ControlError::Invalid("a new user needs a password".to_owned()));
                };
                let sql = "INSERT INTO users (name, password, roles, enabled, full_name, email, metadata, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
                let roles = write_roles(&update.roles);
                let values = params![name, hash, roles, update.enabled, about.full_name, about.email, metadata, now];
                transaction.execute(sql, values)?;
            } else {
                keep_an_admin(transaction)?;
                narrow_keys(transaction, name, &update.roles)?;
            }
            let action = if is_new { "user_create" } else { "user_update" };
            let mut said = write_roles(&update.roles);
            for (is_so, word) in [(!is_new && hash.is_some(), " password"), (!update.enabled, " disabled")] {
                said.push_str(if is_so { word } else { "" });
            }
            add(transaction, &AuditEntry::new(now, by, action, name, said))?;
            Ok(is_new)
        })
    }

    /// Lets a user log in, or not. The API keys of a user who may not are of no use as long.
    ///
    /// # Errors
    /// If there is no such user, or nobody would be admin any more.
    pub fn enable_user(&self, name: &str, enabled: bool, by: &str, now: i64) -> Result<(), ControlError> {
        self.write(|transaction| {
            if transaction.execute("UPDATE users SET enabled = ?2 WHERE name = ?1", params![name, enabled])? == 0 {
                return Err(ControlError::NotFound { what: "user", name: name.to_owned() });
            }
            keep_an_admin(transaction)?;
            let action = if enabled { "user_enable" } else { "user_disable" };
            add(transaction, &AuditEntry::new(now, by, action, name, ""))
        })
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// If there is no such user, or the password will not do.
    pub fn set_password(&self, name: &str, password: &str, by: &str, now: i64) -> Result<(), ControlError> {
        let hash = self.0.hashing.pass(|| hash_password(password))?;
        self.write(|transaction| {
            if transaction.execute("UPDATE users SET password = ?2 WHERE name = ?1", [name, &hash])? == 0 {
                return Err(ControlError::NotFound { what: "user", name: name.to_owned() });
            }
            add(transaction, &AuditEntry::new(now, by, "user_password", name, ""))
        })
    }

    /// Gives a user other roles. Their API keys lose what the user loses, and a key that is left with nothing is taken
    /// back; they gain nothing.
    ///
    /// # Errors
    /// If there is no such user, there are no roles, or nobody would be admin any more.
    pub fn set_roles(&self, name: &str, roles: &BTreeSet<Role>, by: &str, now: i64) -> Result<(), ControlError> {
        check_roles(roles)?;
        self.write(|transaction| {
            let sql = "UPDATE users SET roles = ?2 WHERE name = ?1";
            if transaction.execute(sql, [name, &write_roles(roles)])? == 0 {
                return Err(ControlError::NotFound { what: "user", name: name.to_owned() });
            }
            keep_an_admin(transaction)?;
            narrow_keys(transaction, name, roles)?;
            add(transaction, &AuditEntry::new(now, by, "user_roles", name, write_roles(roles)))
        })
    }

    /// Removes a user, and takes back their API keys.
    ///
    /// # Errors
    /// If there is no such user, or nobody would be admin any more.
    pub fn delete_user(&self, name: &str, by: &str, now: i64) -> Result<(), ControlError> {
        self.write(|transaction| {
            if transaction.execute("DELETE FROM users WHERE name = ?1", [name])? == 0 {
                return Err(ControlError::NotFound { what: "user", name: name.to_owned() });
            }
            keep_an_admin(transaction)?;
            transaction.execute("UPDATE api_keys SET invalidated = 1 WHERE owner = ?1", [name])?;
            add(transaction, &AuditEntry::new(now, by, "user_delete", name, ""))
        })
    }

    /// A user.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn user(&self, name: &str) -> Result<Option<User>, ControlError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM users WHERE name = ?1")?;
            Ok(statement.query_row([name], user).optional()?)
        })
    }

    /// All users, by name.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn users(&self) -> Result<Vec<User>, ControlError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM users ORDER BY name")?;
            let users = statement.query_map([], user)?;
            Ok(users.collect::<Result<_, _>>()?)
        })
    }

    /// Who this is; `None` if there is no such user, they may not log in, or the password is another. It takes the same time in any case, some
    /// hundredths of a second.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn verify_password(&self, name: &str, password: &str) -> Result<Option<Identity>, ControlError> {
        if password.len() > MAX_PASSWORD {
            // Nobody has such a one, whoever it is.
            return Ok(None);
        }
        let known = self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT password, roles, enabled FROM users WHERE name = ?1")?;
            let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?));
            Ok(statement.query_row([name], row).optional()?)
        })?;
        let Some((hash, roles, enabled)) = known else {
            let argon2 = argon2()?;
            _ = self.0.hashing.pass(|| argon2.hash_password(password.as_bytes()));
            return Ok(None);
        };
        let hash = PasswordHash::new(&hash).map_err(|error| ControlError::Damaged(format!("user {name}: {error}")))?;
        let argon2 = argon2()?;
        let is_right = self.0.hashing.pass(|| argon2.verify_password(password.as_bytes(), &hash).is_ok());
        Ok((is_right && enabled).then(|| Identity {
            name: name.to_owned(),
            roles: read_roles(&roles),
            api_key: None,
            writes: None,
        }))
    }

    /// Makes an API key of the user `by`, who must have the roles: whoever calls sees to that. It may write to indices with
    /// a name that one of the patterns of `writes` matches, to all without it.
    ///
    /// # Errors
    /// If the name or the roles will not do, or it would have expired already.
    pub fn create_api_key(
        &self,
        name: &str,
        roles: &BTreeSet<Role>,
        writes: Option<&[String]>,
        expires: Option<i64>,
        by: &str,
        now: i64,
    ) -> Result<NewApiKey, ControlError> {
        if name.is_empty() || name.len() > 256 {
            return Err(ControlError::Invalid("an API key has a name, of 256 bytes at most".to_owned()));
        }
        check_roles(roles)?;
        if expires.is_some_and(|expires| expires <= now) {
            return Err(ControlError::Invalid("an API key must expire in the future".to_owned()));
        }
        let (id, api_key) = (random_text(20)?, random_text(32)?);
        let hash = hash_key(&id, &api_key);
        self.write(|transaction| {
            let sql = "INSERT INTO api_keys (id, name, hash, owner, roles, writes, created_at, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let writes = writes.map(|patterns| serde_json::json!(patterns).to_string());
            transaction.execute(sql, params![id, name, hash, by, write_roles(roles), writes, now, expires])?;
            add(transaction, &AuditEntry::new(now, by, "api_key_create", &id, name))
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
            let mut statement = connection.prepare_cached(
                "SELECT *, hash FROM api_keys
                 WHERE id = ?1 AND owner NOT IN (SELECT name FROM users WHERE enabled = 0)",
            )?;
            let row = |row: &Row<'_>| Ok((api_key(row)?, row.get::<_, Vec<u8>>("hash")?));
            Ok(statement.query_row([id], row).optional()?)
        })?;
        let Some((known, hash)) = found else { return Ok(None) };
        let is_right = is_equal(&hash, &hash_key(id, key));
        let is_valid = !known.invalidated && known.expires.is_none_or(|expires| now < expires);
        let ApiKey { id, owner: name, roles, writes, .. } = known;
        let identity = Identity { name, roles, api_key: Some(id), writes };
        Ok(Some(identity).filter(|_| is_right && is_valid))
    }

    /// Takes an API key back. One that was taken back already stays so.
    ///
    /// # Errors
    /// If there is no such key.
    pub fn invalidate_api_key(&self, id: &str, by: &str, now: i64) -> Result<(), ControlError> {
        self.write(|transaction| {
            let sql = "SELECT invalidated FROM api_keys WHERE id = ?1";
            match transaction.query_row(sql, [id], |row| row.get(0)).optional()? {
                None => return Err(ControlError::NotFound { what: "API key", name: id.to_owned() }),
                Some(true) => return Ok(()),
                Some(false) => {}
            }
            transaction.execute("UPDATE api_keys SET invalidated = 1 WHERE id = ?1", [id])?;
            add(transaction, &AuditEntry::new(now, by, "api_key_invalidate", id, ""))
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

/// Takes from a user's keys what the user has no more.
fn narrow_keys(transaction: &Transaction<'_>, owner: &str, roles: &BTreeSet<Role>) -> Result<(), ControlError> {
    let mut select = transaction.prepare_cached("SELECT * FROM api_keys WHERE owner = ?1 AND invalidated = 0")?;
    let keys = select.query_map([owner], api_key)?.collect::<Result<Vec<_>, _>>()?;
    let mut update = transaction.prepare_cached("UPDATE api_keys SET roles = ?2, invalidated = ?3 WHERE id = ?1")?;
    let may_all = roles.contains(&Role::Admin);
    for key in keys.iter().filter(|key| !may_all && !key.roles.is_subset(roles)) {
        let left: BTreeSet<Role> = key.roles.intersection(roles).copied().collect();
        update.execute(params![key.id, write_roles(&left), left.is_empty()])?;
    }
    Ok(())
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    let (roles, metadata): (String, String) = (row.get("roles")?, row.get("metadata")?);
    let metadata = serde_json::from_str(&metadata).unwrap_or_default();
    Ok(User {
        name: row.get("name")?,
        roles: read_roles(&roles),
        enabled: row.get("enabled")?,
        about: About { full_name: row.get("full_name")?, email: row.get("email")?, metadata },
        created_at: row.get("created_at")?,
    })
}

fn api_key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let (roles, writes): (String, Option<String>) = (row.get("roles")?, row.get("writes")?);
    // What cannot be read allows nothing.
    let patterns = |writes: String| serde_json::from_str::<Vec<String>>(&writes).unwrap_or_default().into();
    Ok(ApiKey {
        id: row.get("id")?,
        name: row.get("name")?,
        owner: row.get("owner")?,
        roles: read_roles(&roles),
        writes: writes.map(patterns),
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
    use crate::testing::open;

    fn roles<const N: usize>(roles: [Role; N]) -> BTreeSet<Role> {
        BTreeSet::from(roles)
    }

    #[test]
    fn users_come_and_go() {
        let (folder, control) = open();
        let both = roles([Role::Reader, Role::Author]);
        control.create_user("root", "correct horse", &roles([Role::Admin]), "eqlipse", 0).unwrap();
        control.create_user("ann", "correct horse", &both, "root", 1).unwrap();
        let again = control.create_user("ann", "correct horse", &both, "root", 1);
        assert!(matches!(again, Err(ControlError::Conflict { .. })));
        for (name, password) in
            [("", "correct horse"), ("a b", "correct horse"), ("bob", "short"), ("bob", &"x".repeat(2_000))]
        {
            assert!(matches!(control.create_user(name, password, &both, "root", 1), Err(ControlError::Invalid(_))));
        }
        assert!(matches!(
            control.create_user("bob", "correct horse", &roles([]), "root", 1),
            Err(ControlError::Invalid(_))
        ));
        let identity = control.verify_password("ann", "correct horse").unwrap().unwrap();
        assert_eq!(identity, Identity { name: "ann".into(), roles: both.clone(), api_key: None, writes: None });
        for (name, password) in [("ann", "wrong horse"), ("bob", "correct horse"), ("ann", &"x".repeat(2_000))] {
            assert_eq!(control.verify_password(name, password).unwrap(), None);
        }
        control.set_password("ann", "another horse", "ann", 2).unwrap();
        assert_eq!(control.verify_password("ann", "correct horse").unwrap(), None);
        let key = control.create_api_key("shipper", &both, None, None, "ann", 3).unwrap();
        let some = ["logs-*".to_owned()];
        let narrow = control.create_api_key("narrow", &both, Some(&some), None, "ann", 3).unwrap();
        let writes = |key: &NewApiKey| control.verify_api_key(&key.encoded, 3).unwrap().unwrap().writes;
        assert_eq!((writes(&key), writes(&narrow).as_deref()), (None, Some(&some[..])));
        drop(control);

        let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
        assert!(control.verify_password("ann", "another horse").unwrap().is_some());
        assert!(control.verify_api_key(&key.encoded, 3).unwrap().is_some());
        let ann = User { name: "ann".into(), roles: both, enabled: true, about: About::default(), created_at: 1 };
        assert_eq!(control.users().unwrap()[0], ann);
        control.delete_user("ann", "root", 4).unwrap();
        assert!(matches!(control.delete_user("ann", "root", 4), Err(ControlError::NotFound { .. })));
        assert!(matches!(control.set_password("ann", "correct horse", "ann", 4), Err(ControlError::NotFound { .. })));
        assert_eq!(control.verify_api_key(&key.encoded, 5).unwrap(), None);
        let log = format!("{:?}", control.audit_log(10).unwrap());
        assert!(!log.contains("horse") && !log.contains(&key.api_key), "{log}");
        assert!(!format!("{key:?}").contains(&key.api_key));
    }

    #[test]
    fn users_are_put_and_disabled() {
        let (_folder, control) = open();
        let mut update = UserUpdate {
            password: None,
            roles: roles([Role::Admin]),
            enabled: true,
            about: About { full_name: Some("Ann".to_owned()), ..About::default() },
        };
        let put = |update: &UserUpdate| control.put_user("ann", update, "root", 1);
        assert!(matches!(put(&update), Err(ControlError::Invalid(_))), "no password");
        update.password = Some("correct horse".to_owned());
        assert!(put(&update).unwrap());
        // Without a password, it stays.
        update.password = None;
        update.about.metadata = Map::from_iter([("team".to_owned(), "blue".into())]);
        assert!(!put(&update).unwrap());
        assert_eq!(control.users().unwrap()[0].about, update.about);
        let key = control.create_api_key("a", &roles([Role::Admin]), None, None, "ann", 2).unwrap();
        assert!(control.verify_password("ann", "correct horse").unwrap().is_some());
        assert!(matches!(control.enable_user("ann", false, "ann", 3), Err(ControlError::Invalid(_))), "the last admin");
        control.create_user("root", "correct horse", &roles([Role::Admin]), "ann", 3).unwrap();
        control.enable_user("ann", false, "root", 4).unwrap();
        assert_eq!(control.verify_password("ann", "correct horse").unwrap(), None);
        assert_eq!(control.verify_api_key(&key.encoded, 5).unwrap(), None);
        // Who may not log in is no admin who could help.
        assert!(matches!(control.delete_user("root", "root", 5), Err(ControlError::Invalid(_))));
        control.enable_user("ann", true, "root", 6).unwrap();
        assert!(control.verify_password("ann", "correct horse").unwrap().is_some());
        assert!(control.verify_api_key(&key.encoded, 7).unwrap().is_some());
        assert!(matches!(control.enable_user("bob", true, "root", 8), Err(ControlError::NotFound { .. })));
        update.about.email = Some("x".repeat(MAX_ABOUT + 1));
        assert!(matches!(put(&update), Err(ControlError::Invalid(_))));
    }

    #[test]
    fn passwords_are_hashed_as_owasp_recommends() {
        let (_folder, control) = open();
        control.create_user("ann", "correct horse", &roles([Role::Reader]), "root", 1).unwrap();
        control.create_user("bob", "correct horse", &roles([Role::Reader]), "root", 1).unwrap();
        let hashes = control
            .read(|connection| {
                let mut statement = connection.prepare("SELECT password FROM users")?;
                Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?)
            })
            .unwrap();
        assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")), "{hashes:?}");
        assert_ne!(hashes[0], hashes[1]);
    }

    #[test]
    fn there_is_always_an_admin() {
        let (_folder, control) = open();
        control.create_user("root", "correct horse", &roles([Role::Admin]), "eqlipse", 0).unwrap();
        assert!(matches!(control.delete_user("root", "root", 1), Err(ControlError::Invalid(_))));
        let reader = roles([Role::Reader]);
        assert!(matches!(control.set_roles("root", &reader, "root", 1), Err(ControlError::Invalid(_))));
        assert_eq!(control.users().unwrap()[0].roles, roles([Role::Admin]));
        control.create_user("ann", "correct horse", &roles([Role::Admin]), "root", 2).unwrap();
        control.set_roles("root", &reader, "ann", 3).unwrap();
        control.delete_user("root", "ann", 4).unwrap();
    }

    #[test]
    fn keys_lose_what_their_owner_loses() {
        let (_folder, control) = open();
        control.create_user("root", "correct horse", &roles([Role::Admin]), "eqlipse", 0).unwrap();
        control.create_user("ann", "correct horse", &roles([Role::Author, Role::Ingest]), "root", 0).unwrap();
        let both = control.create_api_key("a", &roles([Role::Author, Role::Ingest]), None, None, "ann", 1).unwrap();
        let one = control.create_api_key("b", &roles([Role::Author]), None, None, "ann", 1).unwrap();
        control.set_roles("ann", &roles([Role::Ingest, Role::Reader]), "root", 2).unwrap();
        let left = control.verify_api_key(&both.encoded, 3).unwrap().unwrap();
        assert_eq!(left.roles, roles([Role::Ingest]));
        assert_eq!(control.verify_api_key(&one.encoded, 3).unwrap(), None);
        assert!(matches!(
            control.set_roles("bob", &roles([Role::Reader]), "root", 3),
            Err(ControlError::NotFound { .. })
        ));
    }

    #[test]
    fn roles_allow_what_they_say() {
        let allowed = |role: Role| Permission::ALL.map(|permission| role.allows(permission));
        // Read, write events, write rules, write alerts, administer.
        assert_eq!(allowed(Role::Admin), [true; 5]);
        assert_eq!(allowed(Role::Author), [true, false, true, false, false]);
        assert_eq!(allowed(Role::Analyst), [true, false, false, true, false]);
        assert_eq!(allowed(Role::Reader), [true, false, false, false, false]);
        assert_eq!(allowed(Role::Ingest), [false, true, false, false, false]);
        let identity =
            Identity { name: "x".into(), roles: roles([Role::Ingest, Role::Analyst]), api_key: None, writes: None };
        assert!(identity.allows(Permission::WriteEvents) && identity.allows(Permission::WriteAlerts));
        assert!(!identity.allows(Permission::WriteRules));
        assert!(Role::ALL.iter().all(|role| Role::parse(role.as_str()) == Some(*role)));
    }

    #[test]
    fn api_keys_end() {
        let (_folder, control) = open();
        let ingest = roles([Role::Ingest]);
        let key = control.create_api_key("a", &ingest, None, Some(10), "ann", 1).unwrap();
        let identity = control.verify_api_key(&key.encoded, 9).unwrap().unwrap();
        assert_eq!((identity.roles, identity.api_key.as_deref()), (ingest.clone(), Some(key.id.as_str())));
        assert_eq!((key.id.len(), key.api_key.len()), (20, 32));
        assert_eq!(control.verify_api_key(&key.encoded, 10).unwrap(), None);
        let other = control.create_api_key("b", &ingest, None, None, "ann", 2).unwrap();
        let mixed = BASE64_STANDARD.encode(format!("{}:{}", other.id, key.api_key));
        for odd in ["", "!", "YQ==", &mixed] {
            assert_eq!(control.verify_api_key(odd, 3).unwrap(), None);
        }
        control.invalidate_api_key(&other.id, "ann", 3).unwrap();
        control.invalidate_api_key(&other.id, "ann", 3).unwrap();
        assert_eq!(control.audit_log(9).unwrap().len(), 3);
        assert_eq!(control.verify_api_key(&other.encoded, 4).unwrap(), None);
        assert!(matches!(control.invalidate_api_key("no", "ann", 3), Err(ControlError::NotFound { .. })));
        let keys = control.api_keys().unwrap();
        assert_eq!(
            keys.iter().map(|key| (key.name.as_str(), key.invalidated)).collect::<Vec<_>>(),
            [("b", true), ("a", false)]
        );
        for refused in [
            control.create_api_key("", &ingest, None, None, "ann", 1),
            control.create_api_key("a", &roles([]), None, None, "ann", 1),
            control.create_api_key("a", &ingest, None, Some(1), "ann", 1),
        ] {
            assert!(matches!(refused, Err(ControlError::Invalid(_))));
        }
    }
}
