/// Something that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, in nanoseconds since the Unix epoch.
    pub time: i64,
    /// Who: a user's name.
    pub who: String,
    /// What: `rule_create`, `user_create` and the like.
    pub action: String,
    /// To what: an id or a name.
    pub object: String,
    /// More about it; never a password or a key.
    pub detail: String,
}

impl AuditEntry {
    pub(crate) fn new(time: i64, who: &str, action: &str, object: &str, detail: impl Into<String>) -> Self {
        let [who, action, object] = [who, action, object].map(str::to_owned);
        Self { time, who, action, object, detail: detail.into() }
    }
}
