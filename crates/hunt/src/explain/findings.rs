//! What matters most, in the order in which to look at it.

use std::collections::{BTreeMap, BTreeSet};

use super::clauses::PlannedStage;
use super::gather::Gather;
use super::model::{Clause, ClauseKind, Explanation, Finding, FindingKind, Role, StageReport};
use super::names;

pub(super) fn find(explanation: &Explanation, planned: &[PlannedStage], gather: &Gather<'_>) -> Vec<Finding> {
    if gather.events == 0 {
        // Without events everything is absent, which says nothing.
        return Vec::new();
    }
    let mut found = absent_fields(&explanation.stages, gather);
    found.extend(hidden(gather));
    found.extend(categories(&explanation.stages, planned, gather));
    for stage in explanation.stages.iter().filter(|stage| stage.role == Role::Event) {
        found.extend(stage_findings(stage));
    }
    found.extend(correlation(explanation));
    found.into_iter().map(|kind| Finding { message: message(&kind, explanation), kind }).collect()
}

/// The fields without which a clause cannot hold, if the data has none of them.
fn needed(clause: &Clause) -> BTreeSet<String> {
    if clause.passed > 0 {
        return BTreeSet::new();
    }
    match clause.kind {
        ClauseKind::Any if clause.children.iter().any(|child| needed(child).is_empty()) => BTreeSet::new(),
        ClauseKind::Any | ClauseKind::All => clause.children.iter().flat_map(needed).collect(),
        ClauseKind::Not | ClauseKind::Index | ClauseKind::Pattern => BTreeSet::new(),
        ClauseKind::Test | ClauseKind::Category | ClauseKind::Key => clause.absent_fields.iter().cloned().collect(),
    }
}

fn absent_fields(stages: &[StageReport], gather: &Gather<'_>) -> Vec<FindingKind> {
    let mut by_field: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for stage in stages.iter().filter(|stage| stage.role == Role::Event) {
        let fields: BTreeSet<String> = stage.clauses.iter().flat_map(needed).collect();
        fields.into_iter().for_each(|field| by_field.entry(field).or_default().push(stage.number));
    }
    let finding = |(field, stages): (String, Vec<usize>)| {
        let near = names::near(&field, &gather.names);
        FindingKind::FieldAbsent { field, near, stages }
    };
    by_field.into_iter().map(finding).collect()
}

fn hidden(gather: &Gather<'_>) -> Option<FindingKind> {
    (gather.hidden > 0).then(|| FindingKind::IndexHides {
        hidden: gather.hidden,
        all: gather.hidden == gather.events,
        indices: gather.hidden_indices.clone(),
    })
}

fn categories(stages: &[StageReport], planned: &[PlannedStage], gather: &Gather<'_>) -> Vec<FindingKind> {
    let mut unseen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (stage, planned) in stages.iter().zip(planned).filter(|(stage, _)| stage.role == Role::Event) {
        let clause = stage.clauses.iter().find(|clause| clause.kind == ClauseKind::Category);
        let is_unseen = clause.is_some_and(|clause| clause.passed == 0 && clause.absent_fields.is_empty());
        if let Some(category) = planned.category.as_ref().filter(|_| is_unseen) {
            unseen.entry(category.clone()).or_default().push(stage.number);
        }
    }
    let finding =
        |(category, stages)| FindingKind::CategoryUnseen { category, seen: gather.categories.clone(), stages };
    unseen.into_iter().map(finding).collect()
}

fn stage_findings(stage: &StageReport) -> Vec<FindingKind> {
    let never = |clause: &&Clause| {
        clause.passed == 0
            && needed(clause).is_empty()
            && !matches!(clause.kind, ClauseKind::Index | ClauseKind::Category | ClauseKind::Key)
    };
    let mut found: Vec<FindingKind> = stage
        .clauses
        .iter()
        .filter(never)
        .map(|clause| FindingKind::ClauseNeverTrue { stage: stage.number, clause: clause.id })
        .collect();
    let all_pass = stage.clauses.iter().all(|clause| clause.passed > 0);
    if stage.matched == 0 && all_pass && !stage.clauses.is_empty() {
        found.push(FindingKind::NeverTogether { stage: stage.number, clause: stage.killer });
    }
    for clause in stage.clauses.iter().filter(|clause| clause.kind == ClauseKind::Key) {
        let events = clause.failed_only_this.unwrap_or_default();
        if let (Some(field), 1..) = (clause.fields.first(), events) {
            found.push(FindingKind::KeyMissing { stage: stage.number, field: field.clone(), events });
        }
    }
    found
}

fn correlation(explanation: &Explanation) -> Option<FindingKind> {
    let needed: Vec<&StageReport> = explanation.stages.iter().filter(|stage| stage.role == Role::Event).collect();
    if explanation.fired || explanation.subject.kind == "event" || needed.iter().any(|stage| stage.matched == 0) {
        return None;
    }
    let reached = match (&explanation.sequence, &explanation.sample) {
        (Some(sequence), _) => sequence.keys_reached.iter().filter(|keys| **keys > 0).count(),
        (None, Some(sample)) => sample.keys_filled.iter().rposition(|keys| *keys > 0).map_or(0, |place| place + 1),
        (None, None) => return None,
    };
    Some(FindingKind::NotCorrelated { stage: reached })
}

/// `1 event`, `2 events`.
fn events(number: u64) -> String {
    format!("{number} event{}", if number == 1 { "" } else { "s" })
}

fn stages_text(stages: &[usize]) -> String {
    let list = stages.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    format!("stage{} {list}", if stages.len() == 1 { "" } else { "s" })
}

/// The most common of what was counted.
fn top(counts: &BTreeMap<String, u64>) -> String {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    let shown: Vec<String> = counts.iter().take(5).map(|(name, count)| format!("{name} ({count})")).collect();
    let more = counts.len().saturating_sub(5);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

fn clause_text(explanation: &Explanation, stage: usize, id: usize) -> &str {
    let stage = explanation.stages.get(stage - 1);
    stage
        .and_then(|stage| stage.clauses.iter().find(|clause| clause.id == id))
        .map_or("", |clause| clause.text.as_str())
}

fn message(kind: &FindingKind, explanation: &Explanation) -> String {
    match kind {
        FindingKind::FieldAbsent { field, near, stages } => {
            let near = match near[..] {
                [] => "and none with a name like it".to_owned(),
                [_] => format!("but {} is there", near[0]),
                _ => format!("but {} are there", near.join(", ")),
            };
            let need = if stages.len() == 1 { "needs" } else { "need" };
            format!("no event has the field {field}, which {} {need}, {near}", stages_text(stages))
        }
        FindingKind::IndexHides { hidden, all, indices } => {
            let what = if *all { format!("every event ({hidden})") } else { events(*hidden) };
            let there = if indices.is_empty() { String::new() } else { format!(": {}", top(indices)) };
            format!("the index patterns hide {what} from the rule{there}")
        }
        FindingKind::CategoryUnseen { category, seen, stages } => {
            let seen = if seen.is_empty() { "no category at all".to_owned() } else { top(seen) };
            let ask = if stages.len() == 1 { "asks" } else { "ask" };
            format!("no event has the category {category}, which {} {ask} for; there is {seen}", stages_text(stages))
        }
        FindingKind::ClauseNeverTrue { stage, clause } => {
            format!("stage {stage}: no event passes {}", clause_text(explanation, *stage, *clause))
        }
        FindingKind::NeverTogether { stage, clause: Some(clause) } => format!(
            "stage {stage}: each clause holds for some event, but all together for none; most often only this one fails: {}",
            clause_text(explanation, *stage, *clause)
        ),
        FindingKind::NeverTogether { stage, clause: None } => {
            format!("stage {stage}: each clause holds for some event, but all together for none")
        }
        FindingKind::KeyMissing { stage, field, events: count } => {
            format!("stage {stage}: {} match but lack the join key {field}", events(*count))
        }
        FindingKind::NotCorrelated { stage } => not_correlated(*stage, explanation),
    }
}

fn not_correlated(reached: usize, explanation: &Explanation) -> String {
    let Some(sequence) = &explanation.sequence else {
        return format!("every stage matches, but no key has events for more than {reached} of them");
    };
    let longest = sequence.longest.first().map(|partial| format!("; the longest: {}", partial.message));
    let steps = sequence.keys_reached.len();
    format!(
        "every stage matches, but no sequence got further than step {reached} of {steps}{}",
        longest.unwrap_or_default()
    )
}
