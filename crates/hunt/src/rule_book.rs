use std::sync::Arc;

use eqlipse_engine::{CompileOptions, MatchPlan, RuleIndex, RuleSetBuilder, Scope};
use eqlipse_eql::Diagnostic;
use eqlipse_eql::ast::Query;
use eqlipse_rules::{EqlRule, LoadedRule, Rule, RuleKind, RuleLoad, on_all_cores};
use sha2::{Digest, Sha256};

use crate::query_place::QueryPlace;
use crate::report::{RuleSetReport, UnloadedRule};

/// The rules of a hunt, compiled together.
pub struct RuleBook {
    pub(crate) plan: Arc<MatchPlan>,
    /// By [`RuleIndex`].
    pub(crate) rules: Vec<Arc<Rule>>,
    pub(crate) report: RuleSetReport,
    /// Whether index patterns do not count.
    pub(crate) any_index: bool,
}

impl RuleBook {
    /// Compiles the rules of a load that `keep` says yes to. With `any_index`, index patterns do not count. Rules that
    /// cannot be compiled are reported, not refused.
    pub fn compile(load: RuleLoad, keep: impl Fn(&Rule) -> bool, any_index: bool) -> Self {
        let mut compiler = Compiler::new(any_index);
        for failure in load.failures {
            let unloaded =
                UnloadedRule { origin: failure.origin.to_string(), name: None, reason: failure.error.to_string() };
            compiler.report.unloaded.push(unloaded);
        }
        compiler.report.warnings.extend(load.warnings.iter().map(ToString::to_string));
        let mut loaded = load.rules;
        loaded.sort_by_cached_key(|loaded| loaded.rule.rule_id.clone());
        let before = loaded.len();
        loaded.retain(|loaded| keep(&loaded.rule));
        compiler.report.filtered = before - loaded.len();
        let queries = on_all_cores(&loaded, parse);
        compiler.builder.reserve(queries.iter().flatten().count());
        for (rule, query) in loaded.into_iter().zip(queries) {
            compiler.add(rule, query);
        }
        compiler.finish(any_index)
    }

    /// What became of the rules.
    pub fn report(&self) -> &RuleSetReport {
        &self.report
    }

    /// The rules that run, by rule id.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// The compiled rules.
    pub fn plan(&self) -> &Arc<MatchPlan> {
        &self.plan
    }

    pub(crate) fn rule(&self, index: RuleIndex) -> &Arc<Rule> {
        &self.rules[index.0 as usize]
    }
}

struct Compiler {
    builder: RuleSetBuilder,
    rules: Vec<Arc<Rule>>,
    report: RuleSetReport,
    hash: Sha256,
    /// Rules with exception lists.
    excepted: usize,
}

impl Compiler {
    fn new(any_index: bool) -> Self {
        let mut builder = RuleSetBuilder::new(CompileOptions { any_index, ..CompileOptions::default() });
        eqlipse_events::reserve(builder.schema_mut());
        Self { builder, rules: Vec::new(), report: RuleSetReport::default(), hash: Sha256::new(), excepted: 0 }
    }

    fn add(&mut self, loaded: LoadedRule, query: Option<Result<Query, String>>) {
        let (RuleKind::Eql(eql), Some(query)) = (&loaded.rule.kind, query) else {
            *self.report.not_run.entry(loaded.rule.rule_type().as_str().to_owned()).or_default() += 1;
            return;
        };
        match query.and_then(|query| self.compile(&query, eql, &loaded)) {
            Ok(()) => {
                for part in [&*loaded.rule.rule_id, "\0", &*loaded.content_hash, "\n"] {
                    self.hash.update(part);
                }
                self.excepted += usize::from(!loaded.rule.exceptions_list.is_empty());
                self.rules.push(Arc::new(loaded.rule));
            }
            Err(reason) => self.report.unloaded.push(UnloadedRule {
                origin: loaded.origin.to_string(),
                name: Some(loaded.rule.name),
                reason,
            }),
        }
    }

    fn compile(&mut self, query: &Query, eql: &EqlRule, loaded: &LoadedRule) -> Result<(), String> {
        let scope = Scope {
            index: eql.source.index.clone(),
            category_field: eql.event_category_override.clone(),
            timestamp_field: eql.timestamp_field.clone(),
            tiebreaker_field: eql.tiebreaker_field.clone(),
            ..Scope::default()
        };
        self.builder.add(query, &scope).map(drop).map_err(|error| draw(loaded, eql, &[error.diagnostic()]))
    }

    fn finish(mut self, any_index: bool) -> RuleBook {
        if self.excepted > 0 {
            let rules = if self.excepted == 1 { "1 rule has" } else { &format!("{} rules have", self.excepted) };
            self.report.warnings.push(format!("{rules} exception lists, which a hunt does not apply"));
        }
        self.report.ran = self.rules.clone();
        self.report.sha256 = crate::hex(&self.hash.finalize());
        let plan = Arc::new(MatchPlan::new(Arc::new(self.builder.build())));
        RuleBook { plan, rules: self.rules, report: self.report, any_index }
    }
}

/// An EQL rule's query, parsed and checked, or why it cannot run; `None` for a rule of another type.
fn parse(loaded: &LoadedRule) -> Option<Result<Query, String>> {
    let eql = loaded.rule.eql()?;
    if !eql.source.filters.is_empty() {
        // Run without them, the rule would find what its author took out.
        return Some(Err("the rule has `filters`, which eqlipse does not apply to EQL rules yet".to_owned()));
    }
    let parsed = eqlipse_eql::parse(&eql.query).map_err(|diagnostics| draw(loaded, eql, &diagnostics));
    Some(parsed.and_then(|query| {
        let checked = eqlipse_eql::check(&query, &eqlipse_eql::Catalogue);
        if checked.iter().any(Diagnostic::is_error) { Err(draw(loaded, eql, &checked)) } else { Ok(query) }
    }))
}

/// The errors among diagnostics of a rule's query, each with its place.
fn draw(loaded: &LoadedRule, eql: &EqlRule, diagnostics: &[Diagnostic]) -> String {
    let place = QueryPlace::of(loaded, &eql.query);
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
    errors.map(|diagnostic| place.draw(diagnostic, false)).collect::<Vec<_>>().join("\n")
}
