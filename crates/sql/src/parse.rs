//! SQL text: what is taken, within limits, and names of fields without quotes.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, Statement, TableFactor, Visit, VisitMut,
    Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Word};

use crate::SqlError;

/// The longest query, in bytes.
pub const MAX_SQL_BYTES: usize = 256 << 10;
/// The most tables that are joined, or queries that are put together, in one query.
pub const MAX_SQL_TABLES: usize = 64;
/// How deep expressions and queries may be nested.
pub const MAX_SQL_DEPTH: usize = 500;
/// How deep the parser goes into parentheses.
const MAX_PARSER_DEPTH: usize = 50;

/// A query that may be run.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) statement: Statement,
    /// The names in it that are no keywords for sure, with their places, for messages.
    words: Vec<(String, Location)>,
    /// Where names were put together of several words.
    merged: BTreeSet<Location>,
}

/// Reads one statement.
pub(crate) fn parse(sql: &str) -> Result<Parsed, SqlError> {
    if sql.len() > MAX_SQL_BYTES {
        return Err(SqlError::Query(format!("the query is longer than {MAX_SQL_BYTES} bytes")));
    }
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location();
    let tokens = tokens.map_err(|error| at(error.location, error.message))?;
    check_tables(&tokens)?;
    let (tokens, merged) = merge_names(tokens);
    let words = tokens.iter().filter_map(|token| match &token.token {
        Token::Word(word) => Some((word.value.clone(), token.span.start)),
        _ => None,
    });
    let words: Vec<_> = words.collect();
    let end = tokens.last().map_or(Location::new(1, 1), |token| token.span.end);
    let parser = Parser::new(&dialect).with_recursion_limit(MAX_PARSER_DEPTH).with_tokens_with_locations(tokens);
    let statements = { parser }.parse_statements().map_err(|error| parser_error(error, end))?;
    let mut statements = statements.into_iter();
    let Some(statement) = statements.next() else { return Err(at(end, "the query is empty".to_owned())) };
    if statements.next().is_some() {
        return Err(SqlError::Query("one statement at a time: there is another behind ';'".to_owned()));
    }
    check_statement(&statement)?;
    check_depth(&statement)?;
    Ok(Parsed { statement, words, merged })
}

fn at(location: Location, message: String) -> SqlError {
    SqlError::At { line: location.line.max(1), column: location.column.max(1), message }
}

/// Plans grow with each of these, and parsers do not count them.
fn check_tables(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let is_table = |token: &&TokenWithSpan| match &token.token {
        Token::Word(word) => {
            matches!(
                word.keyword,
                Keyword::JOIN | Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::SELECT
            )
        }
        _ => false,
    };
    let mut tables = tokens.iter().filter(is_table);
    match tables.nth(MAX_SQL_TABLES) {
        Some(token) => {
            let message =
                format!("more than {MAX_SQL_TABLES} of SELECT, JOIN, UNION, INTERSECT and EXCEPT in one query");
            Err(at(token.span.start, message))
        }
        None => Ok(()),
    }
}

/// Words with points between them, as in `process.name`, become one quoted name: to SQL, each word by itself could be a
/// keyword (`user.name`, `group.id`).
fn merge_names(tokens: Vec<TokenWithSpan>) -> (Vec<TokenWithSpan>, BTreeSet<Location>) {
    let mut merged: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut places = BTreeSet::new();
    let mut rest = tokens.as_slice();
    while let Some(first) = rest.first() {
        let length = name_length(rest);
        let is_part = merged.last().is_some_and(|token| token.token == Token::Period);
        if length == 1 || is_part {
            merged.push(first.clone());
            rest = &rest[1..];
            continue;
        }
        let value: String = rest[..length].iter().map(|token| token.token.to_string()).collect();
        let span = Span::new(first.span.start, rest[length - 1].span.end);
        places.insert(first.span.start);
        let word = Word { value, quote_style: Some('"'), keyword: Keyword::NoKeyword };
        merged.push(TokenWithSpan::new(Token::Word(word), span));
        rest = &rest[length..];
    }
    (merged, places)
}

/// How many tokens from the first one on are one name.
fn name_length(tokens: &[TokenWithSpan]) -> usize {
    let is_word = |token: &TokenWithSpan| matches!(&token.token, Token::Word(word) if word.quote_style.is_none());
    if !tokens.first().is_some_and(is_word) {
        return 1;
    }
    let mut length = 1;
    while let [Token::Period, _] =
        tokens.get(length..length + 2).map_or([&Token::EOF, &Token::EOF], |two| [&two[0].token, &two[1].token])
        && is_word(&tokens[length + 1])
    {
        length += 2;
    }
    // The name of a function, or the table of `table.*`, is none of a field.
    match tokens.get(length).map(|token| &token.token) {
        Some(Token::LParen | Token::Period) if length > 1 => 1,
        _ => length,
    }
}

fn parser_error(error: ParserError, end: Location) -> SqlError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return SqlError::Query(format!("the query is nested deeper than {MAX_PARSER_DEPTH}"));
        }
    };
    let (message, place) = match text.rsplit_once(" at Line: ") {
        Some((message, place)) => (message, place),
        None => return at(end, with_hint(&text)),
    };
    let mut numbers = place.split(", Column: ").map(|number| number.trim().parse::<u64>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(line), Some(column)) => at(Location::new(line, column), with_hint(message)),
        _ => at(end, with_hint(message)),
    }
}

/// What to do about a message of the parser.
fn with_hint(message: &str) -> String {
    if message.ends_with("found: -") || message.ends_with("found: *") {
        return format!(
            "{message}; names with other characters than letters, digits, '_' and '.' stand in quotes, as in FROM \"logs-*\""
        );
    }
    message.to_owned()
}

/// Says whether the statement only reads.
fn check_statement(statement: &Statement) -> Result<(), SqlError> {
    let refused = |what: &str| {
        let message = format!(
            "{what} is not taken: only SELECT, WITH, VALUES, EXPLAIN, DESCRIBE, SHOW TABLES and SHOW COLUMNS are"
        );
        Err(SqlError::Query(message))
    };
    match statement {
        Statement::Query(query) => match &query.body.as_ref() {
            body if is_reading(body) && query.locks.is_empty() => Ok(()),
            _ => refused("a query that changes something"),
        },
        Statement::Explain { statement, .. } => match &**statement {
            Statement::Explain { .. } => refused("EXPLAIN of EXPLAIN"),
            inner => check_statement(inner),
        },
        Statement::ExplainTable { .. } | Statement::ShowTables { .. } | Statement::ShowColumns { .. } => Ok(()),
        other => {
            let text = other.to_string();
            refused(text.split_whitespace().next().unwrap_or("this"))
        }
    }
}

fn is_reading(body: &datafusion::sql::sqlparser::ast::SetExpr) -> bool {
    use datafusion::sql::sqlparser::ast::SetExpr;
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => is_reading(&query.body),
        SetExpr::SetOperation { left, right, .. } => is_reading(left) && is_reading(right),
        SetExpr::Values(_) => true,
        _ => false,
    }
}

/// Counts how deep expressions and queries lie in each other. What recurses later has room for as much.
#[derive(Default)]
struct Depth {
    now: usize,
}

impl Depth {
    fn enter(&mut self) -> ControlFlow<()> {
        self.now += 1;
        if self.now > MAX_SQL_DEPTH { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn leave(&mut self) -> ControlFlow<()> {
        self.now -= 1;
        ControlFlow::Continue(())
    }
}

impl Visitor for Depth {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        // Each step of `a[1][2]` becomes an expression around the one before.
        match expr {
            Expr::CompoundFieldAccess { access_chain, .. } if self.now + access_chain.len() > MAX_SQL_DEPTH => {
                ControlFlow::Break(())
            }
            _ => self.enter(),
        }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.enter()
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.leave()
    }
}

fn check_depth(statement: &Statement) -> Result<(), SqlError> {
    match statement.visit(&mut Depth::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            let message = format!(
                "expressions are nested deeper than {MAX_SQL_DEPTH}; a long chain of OR or AND is one too: write IN (…)"
            );
            Err(SqlError::Query(message))
        }
    }
}

impl Parsed {
    /// The words of the query, names among them.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|(word, _)| word.as_str())
    }

    /// The table of a `DESCRIBE`.
    pub(crate) fn described(&self) -> Option<String> {
        match &self.statement {
            Statement::ExplainTable { table_name, .. } => Some(joined(table_name)),
            _ => None,
        }
    }

    /// The tables that are named, but for those that `WITH` makes.
    pub(crate) fn tables(&self) -> BTreeSet<String> {
        let mut tables = Tables::default();
        _ = self.statement.visit(&mut tables);
        tables.named.extend(self.described());
        tables.named.difference(&tables.made).cloned().collect()
    }

    /// Gives each name its form: fields as one name, behind the alias of their table if there is one; names in another
    /// case than a field's the field's own, where they mean only one. Names of tables become one word.
    pub(crate) fn resolve(&mut self, fields: &BTreeSet<&str>) {
        let mut known = Aliases::default();
        _ = self.statement.visit(&mut known);
        let mut names = Resolver { fields, aliases: &known, merged: &self.merged };
        _ = VisitMut::visit(&mut self.statement, &mut names);
    }

    /// Where a name stands.
    pub(crate) fn place_of(&self, name: &str) -> Option<(u64, u64)> {
        let find = |name: &str| self.words.iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
        let (_, place) = find(name).or_else(|| find(name.rsplit('.').next()?))?;
        Some((place.line, place.column))
    }

    /// An error about a name.
    pub(crate) fn about(&self, name: &str, message: String) -> SqlError {
        match self.place_of(name) {
            Some((line, column)) => SqlError::At { line, column, message },
            None => SqlError::Query(message),
        }
    }
}

fn joined(name: &ObjectName) -> String {
    let parts: Vec<&str> = name.0.iter().filter_map(|part| part.as_ident().map(|ident| ident.value.as_str())).collect();
    parts.join(".")
}

#[derive(Default)]
struct Tables {
    named: BTreeSet<String>,
    made: BTreeSet<String>,
}

impl Visitor for Tables {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.named.insert(joined(relation));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        // A function that gives a table is none.
        if let TableFactor::Table { name, args: Some(_), .. } = factor {
            self.made.insert(joined(name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let made = query.with.iter().flat_map(|with| &with.cte_tables);
        self.made.extend(made.map(|table| table.alias.name.value.clone()));
        ControlFlow::Continue(())
    }
}

/// Names that the query gives.
#[derive(Default)]
struct Aliases {
    tables: BTreeSet<String>,
    columns: BTreeSet<String>,
}

impl Visitor for Aliases {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.tables.insert(table.alias.name.value.clone());
            self.columns.extend(table.alias.columns.iter().map(|column| column.name.value.clone()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.columns.insert(alias.value.clone());
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let (alias, name) = match factor {
            TableFactor::Table { alias, name, .. } => (alias, Some(joined(name))),
            TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => (alias, None),
            _ => return ControlFlow::Continue(()),
        };
        match alias {
            Some(alias) => {
                self.tables.insert(alias.name.value.clone());
                self.columns.extend(alias.columns.iter().map(|column| column.name.value.clone()));
            }
            None => self.tables.extend(name),
        }
        ControlFlow::Continue(())
    }
}

struct Resolver<'r> {
    fields: &'r BTreeSet<&'r str>,
    aliases: &'r Aliases,
    merged: &'r BTreeSet<Location>,
}

impl Resolver<'_> {
    /// The name in its own case.
    fn cased(&self, name: &str) -> Option<String> {
        if self.fields.contains(name) || self.aliases.columns.contains(name) {
            return None;
        }
        let all = self.fields.iter().copied().chain(self.aliases.columns.iter().map(String::as_str));
        let mut like = all.filter(|other| other.eq_ignore_ascii_case(name));
        let first = like.next()?;
        like.all(|other| other == first).then(|| first.to_owned())
    }

    fn table(&self, name: &str) -> Option<&String> {
        let tables = &self.aliases.tables;
        tables.get(name).or_else(|| tables.iter().find(|table| table.eq_ignore_ascii_case(name)))
    }

    /// What stands for a name without quotes.
    fn expr(&self, ident: &Ident) -> Option<Expr> {
        let is_merged = self.merged.contains(&ident.span.start);
        if ident.quote_style.is_some() && !is_merged {
            return None;
        }
        let field = |name: &str| {
            let value = self.cased(name).unwrap_or_else(|| name.to_owned());
            Ident { value, quote_style: Some('"'), span: ident.span }
        };
        if let Some((table, name)) = ident.value.split_once('.').filter(|_| is_merged)
            && !self.fields.contains(&*ident.value)
            && let Some(table) = self.table(table)
        {
            let table = Ident { value: table.clone(), quote_style: Some('"'), span: ident.span };
            return Some(Expr::CompoundIdentifier(vec![table, field(name)]));
        }
        Some(Expr::Identifier(field(&ident.value)))
    }
}

impl VisitorMut for Resolver<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && let Some(resolved) = self.expr(ident)
        {
            *expr = resolved;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        // A function that gives a table keeps its name as it is.
        if let TableFactor::Table { name, args: None, .. } = factor {
            name_table(name);
        }
        ControlFlow::Continue(())
    }
}

/// Makes a table's name one word, but for a table about tables.
fn name_table(table: &mut ObjectName) {
    let name = joined(table);
    let parts = match name.split_once('.') {
        Some((schema, table)) if schema.eq_ignore_ascii_case("information_schema") => {
            vec!["information_schema".to_owned(), table.to_ascii_lowercase()]
        }
        _ => vec![name],
    };
    let parts = parts.into_iter().map(|part| ObjectNamePart::Identifier(Ident::with_quote('"', part)));
    table.0 = parts.collect();
}
