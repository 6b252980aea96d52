//! Statements: written once, spoken in each dialect.
//!
//! A statement marks its values `$1 … $n`, in order and each once; one that does not fails to
//! compile. `SQLite` and PostgreSQL take it as it stands, MySQL gets `?` for each mark. Values are
//! whole numbers, text and bytes only: these three mean the same in every database.

use std::sync::{Arc, OnceLock};

use hallpass_session::time::{Seconds, UnixSeconds};
use sqlx::any::AnyArguments;
use sqlx::{Any, Arguments, AssertSqlSafe, SqlSafeStr, SqlStr};

use super::dialect::Dialect;

/// A statement of this program.
pub(super) struct Statement {
    text: &'static str,
    mysql: Option<&'static str>,
    marked: OnceLock<String>,
}

/// A statement put together from names that this program has, in its dialect.
#[derive(Clone)]
pub(super) struct Composed(Arc<str>);

/// A statement with its values.
pub(super) struct Bound {
    text: Text,
    arguments: AnyArguments,
}

/// What it says.
enum Text {
    Written(&'static Statement),
    Composed(Composed),
}

impl Statement {
    /// One that reads alike in every dialect.
    pub(super) const fn new(text: &'static str) -> Self {
        assert!(marks_in_order(text), "marks are $1 … $n, in order and once");
        Self {
            text,
            mysql: None,
            marked: OnceLock::new(),
        }
    }

    /// One that MySQL has other words for.
    pub(super) const fn differing(text: &'static str, mysql: &'static str) -> Self {
        assert!(marks_in_order(text), "marks are $1 … $n, in order and once");
        assert!(
            marks_in_order(mysql),
            "marks are $1 … $n, in order and once"
        );
        Self {
            text,
            mysql: Some(mysql),
            marked: OnceLock::new(),
        }
    }

    /// Without values.
    pub(super) fn plain(&'static self) -> Bound {
        Bound {
            text: Text::Written(self),
            arguments: AnyArguments::default(),
        }
    }

    /// With its first value.
    pub(super) fn bind(&'static self, value: impl Value) -> Bound {
        self.plain().bind(value)
    }

    fn text(&'static self, dialect: Dialect) -> &'static str {
        if dialect != Dialect::MySql {
            return self.text;
        }
        self.marked
            .get_or_init(|| with_question_marks(self.mysql.unwrap_or(self.text)))
    }
}

impl Composed {
    /// Of a text that is made of this program's own words only, never of what somebody gave.
    pub(super) fn new(text: String, dialect: Dialect) -> Self {
        debug_assert!(
            marks_in_order(&text),
            "marks are $1 … $n, in order and once"
        );
        let marked = match dialect {
            Dialect::MySql => with_question_marks(&text),
            Dialect::Sqlite | Dialect::Postgres => text,
        };
        Self(marked.into())
    }

    /// Without values.
    pub(super) fn plain(&self) -> Bound {
        Bound {
            text: Text::Composed(self.clone()),
            arguments: AnyArguments::default(),
        }
    }
}

impl Bound {
    /// Adds the next value.
    pub(super) fn bind(mut self, value: impl Value) -> Self {
        value.add_to(&mut self.arguments);
        self
    }

    /// The statement as the driver takes it; prepared once per connection.
    pub(super) fn query(self, dialect: Dialect) -> sqlx::query::Query<'static, Any, AnyArguments> {
        sqlx::query_with(self.text.sql(dialect), self.arguments)
    }
}

impl Text {
    fn sql(self, dialect: Dialect) -> SqlStr {
        match self {
            Self::Written(statement) => statement.text(dialect).into_sql_str(),
            Self::Composed(Composed(text)) => AssertSqlSafe(text).into_sql_str(),
        }
    }
}

/// What a statement can be given.
pub(super) trait Value {
    /// Adds it as the next argument.
    fn add_to(self, arguments: &mut AnyArguments);
}

/// The values that drivers take as they are.
macro_rules! value {
    ($($type:ty),+) => {$(
        impl Value for $type {
            fn add_to(self, arguments: &mut AnyArguments) {
                // Encoding numbers, text and bytes cannot fail; if it did, the database would
                // refuse a statement that lacks a value.
                let _added = arguments.add(self);
            }
        }
    )+};
}

value!(
    i64,
    &str,
    String,
    Option<i64>,
    Option<String>,
    Vec<u8>,
    Option<Vec<u8>>
);

/// Databases' whole numbers are signed; ours are not.
impl Value for u64 {
    fn add_to(self, arguments: &mut AnyArguments) {
        i64::try_from(self).unwrap_or(i64::MAX).add_to(arguments);
    }
}

impl Value for u32 {
    fn add_to(self, arguments: &mut AnyArguments) {
        i64::from(self).add_to(arguments);
    }
}

impl Value for bool {
    fn add_to(self, arguments: &mut AnyArguments) {
        i64::from(self).add_to(arguments);
    }
}

impl Value for UnixSeconds {
    fn add_to(self, arguments: &mut AnyArguments) {
        self.get().add_to(arguments);
    }
}

impl Value for Seconds {
    fn add_to(self, arguments: &mut AnyArguments) {
        self.get().add_to(arguments);
    }
}

impl Value for Option<u32> {
    fn add_to(self, arguments: &mut AnyArguments) {
        self.map(i64::from).add_to(arguments);
    }
}

impl Value for &String {
    fn add_to(self, arguments: &mut AnyArguments) {
        self.as_str().add_to(arguments);
    }
}

impl Value for &Option<String> {
    fn add_to(self, arguments: &mut AnyArguments) {
        self.clone().add_to(arguments);
    }
}

impl<const N: usize> Value for &[u8; N] {
    fn add_to(self, arguments: &mut AnyArguments) {
        self.to_vec().add_to(arguments);
    }
}

impl Value for &[u8] {
    fn add_to(self, arguments: &mut AnyArguments) {
        self.to_vec().add_to(arguments);
    }
}

/// Whether the marks of `text` are `$1 … $n`, in order and each once.
const fn marks_in_order(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut at, mut last) = (0, 0);
    while at < bytes.len() {
        at += 1;
        if bytes[at - 1] == b'$' {
            let mut number = 0;
            while at < bytes.len() && bytes[at].is_ascii_digit() {
                number = number * 10 + (bytes[at] - b'0') as u32;
                at += 1;
            }
            last += 1;
            if number != last {
                return false;
            }
        }
    }
    true
}

fn with_question_marks(text: &str) -> String {
    let mut parts = text.split('$');
    let mut marked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        marked.push('?');
        marked.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::{Dialect, Statement, marks_in_order};

    static ALIKE: Statement = Statement::new("SELECT a FROM t WHERE b = $1 AND c > $2 LIMIT $3");
    static DIFFERING: Statement = Statement::differing("INSERT $1", "INSERT IGNORE $1");

    #[test]
    fn text_has_question_marks_for_mysql_only() {
        let dollars = "SELECT a FROM t WHERE b = $1 AND c > $2 LIMIT $3";
        assert_eq!(ALIKE.text(Dialect::Sqlite), dollars);
        assert_eq!(ALIKE.text(Dialect::Postgres), dollars);
        assert_eq!(
            ALIKE.text(Dialect::MySql),
            "SELECT a FROM t WHERE b = ? AND c > ? LIMIT ?"
        );
    }

    #[test]
    fn text_is_mysql_s_own_where_it_differs() {
        assert_eq!(DIFFERING.text(Dialect::Postgres), "INSERT $1");
        assert_eq!(DIFFERING.text(Dialect::MySql), "INSERT IGNORE ?");
    }

    #[test]
    fn marks_out_of_order_or_used_twice_are_refused() {
        assert!(marks_in_order(""));
        assert!(marks_in_order(
            "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11"
        ));
        for wrong in ["$2", "$1 $1", "$1 $3", "$0", "$", "$2 $1"] {
            assert!(!marks_in_order(wrong), "{wrong}");
        }
    }
}
