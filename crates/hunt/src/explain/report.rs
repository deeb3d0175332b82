//! From what the pass gathered to the explanation.

use eqlipse_engine::compile::{Plan, SequencePlan};
use eqlipse_engine::correlate::{CorrelateOptions, Detection, KeyId, Matched, correlate_rule};
use eqlipse_engine::{Collector, Coverage, RuleSet};
use eqlipse_events::{Discovery, ReadReport};
use serde_json::Value;

use super::clauses::{Planned, PlannedStage};
use super::gather::{Gather, Group, StageTally};
use super::model::{
    Clause, ClauseKind, DataInfo, End, EndCount, Explanation, HitEvent, HitReport, NearMiss, Partial, Role, SampleMiss,
    SampleReport, SequenceReport, StageReport, SubjectInfo,
};
use super::record::{Record, iso};
use super::trace::{Cause, Clock, Ended, trace};
use super::{Compiled, EventInfo, ExplainError, ExplainOptions, RULE, Subject, findings, sample};
use crate::documents::key_json;
use crate::spool::Spool;

/// What the reports are made of.
struct Reporter<'a> {
    compiled: &'a Compiled,
    inputs: &'a Discovery,
    options: &'a ExplainOptions<'a>,
    spool: Spool,
    matched: Matched,
}

pub(super) fn build(
    subject: &Subject,
    compiled: &Compiled,
    mut gather: Gather<'_>,
    inputs: &Discovery,
    read: &ReadReport,
    options: &ExplainOptions<'_>,
) -> Result<Explanation, ExplainError> {
    if let Some(error) = gather.failure.take() {
        return Err(ExplainError::Spool(error));
    }
    let rules = compiled.plan.rules();
    let collector = std::mem::replace(&mut gather.collector, Collector::new(rules.clone()));
    let matched = Collector::merge(rules, vec![collector]).map_err(ExplainError::Spool)?;
    let detections = correlate_rule(rules, RULE, &matched, &CorrelateOptions::default());
    let spool = std::mem::take(&mut gather.spool);
    let mut reporter = Reporter { compiled, inputs, options, spool, matched };
    let stages = reporter.stages(&gather)?;
    let (mut sequence, mut sample) = (None, None);
    let kind = match &rules.plans()[RULE.0 as usize].plan {
        Plan::Event(_) => "event",
        Plan::Sequence(plan) => {
            sequence = Some(reporter.sequence(plan, &detections)?);
            "sequence"
        }
        Plan::Sample(_) => {
            sample = Some(reporter.sample(&detections)?);
            "sample"
        }
    };
    let hits = reporter.hits(&detections)?;
    let mut explanation = Explanation {
        subject: SubjectInfo {
            rule_id: subject.rule_id.clone(),
            name: subject.name.clone(),
            kind,
            query: subject.text.clone(),
            index: subject.scope.index.clone(),
        },
        data: data_info(&gather, inputs, read),
        fired: !detections.is_empty(),
        alerts: detections.len() as u64,
        findings: Vec::new(),
        stages,
        sequence,
        sample,
        hits,
    };
    explanation.findings = findings::find(&explanation, &compiled.stages, &gather);
    Ok(explanation)
}

fn data_info(gather: &Gather<'_>, inputs: &Discovery, read: &ReadReport) -> DataInfo {
    DataInfo {
        inputs: read.inputs.iter().filter(|input| input.format != "unknown").count() as u64,
        events: gather.events,
        duplicates: gather.duplicates,
        untimed: gather.untimed,
        skipped: read.inputs.iter().map(|input| input.skipped).sum(),
        problems: inputs.problems.iter().chain(&read.problems).map(ToString::to_string).collect(),
    }
}

/// The clause of a stage that alone kept out most events.
fn killer(stage: &PlannedStage, tally: &StageTally) -> Option<usize> {
    let most = tally.only.iter().copied().max().filter(|most| *most > 0)?;
    tally.only.iter().position(|only| *only == most).map(|place| stage.clauses[place].id)
}

fn clause(planned: &Planned, passed: &[u64], rules: &RuleSet, coverage: &Coverage) -> Clause {
    let lacks = |field: &&String| rules.schema().lookup(field).is_some_and(|field| !coverage.has_field(field));
    Clause {
        id: planned.id,
        kind: planned.kind,
        text: planned.text.clone(),
        fields: planned.fields.clone(),
        absent_fields: planned.fields.iter().filter(lacks).cloned().collect(),
        passed: passed[planned.id],
        passed_so_far: None,
        failed_only_this: None,
        children: planned.children.iter().map(|child| clause(child, passed, rules, coverage)).collect(),
    }
}

impl Reporter<'_> {
    fn stages(&mut self, gather: &Gather<'_>) -> Result<Vec<StageReport>, ExplainError> {
        let compiled = self.compiled;
        let mut reports = Vec::new();
        for (index, (stage, tally)) in compiled.stages.iter().zip(&gather.tallies).enumerate() {
            let mut clauses: Vec<Clause> = stage
                .clauses
                .iter()
                .map(|planned| clause(planned, &gather.passed, compiled.plan.rules(), &gather.coverage))
                .collect();
            for (place, clause) in clauses.iter_mut().enumerate() {
                clause.passed_so_far = Some(tally.so_far[place]);
                clause.failed_only_this = Some(tally.only[place]);
            }
            reports.push(StageReport {
                number: index + 1,
                role: stage.role,
                runs: stage.runs,
                text: stage.text.clone(),
                clauses,
                matched: tally.matched,
                killer: killer(stage, tally),
                near_misses: self.near_misses(stage, tally)?,
            });
        }
        Ok(reports)
    }

    fn near_misses(&mut self, stage: &PlannedStage, tally: &StageTally) -> Result<Vec<NearMiss>, ExplainError> {
        // Where an event passed no more than the index and the category, it came near nothing.
        let says_something =
            |kind: ClauseKind| !matches!(kind, ClauseKind::Index | ClauseKind::Category | ClauseKind::Key);
        let near = |failed: &[u32]| {
            let passed = |(place, clause): (usize, &Planned)| {
                !failed.contains(&(place as u32)) && clause.kind != ClauseKind::Not && says_something(clause.kind)
            };
            stage.clauses.iter().enumerate().any(passed) || failed.len() == 1
        };
        let mut groups: Vec<(&Vec<u32>, &Group)> = tally.groups.iter().filter(|(failed, _)| near(failed)).collect();
        // Of those that failed as many clauses, the rarest: what few events have tells most.
        groups.sort_by_key(|(failed, group)| (failed.len(), group.events, group.order));
        groups.truncate(self.options.limit);
        groups.into_iter().map(|(failed, group)| self.near_miss(stage, failed, group)).collect()
    }

    fn near_miss(&mut self, stage: &PlannedStage, failed: &[u32], group: &Group) -> Result<NearMiss, ExplainError> {
        let record = Record::read(&mut self.spool, group.offset)?;
        let states = |wanted: bool| {
            let clauses = stage.clauses.iter().filter(|clause| record.holds(clause) == wanted);
            clauses.map(|clause| record.state(clause)).collect()
        };
        Ok(NearMiss {
            events: group.events,
            passed: stage.clauses.len() - failed.len(),
            of: stage.clauses.len(),
            event: record.info(group.order, self.inputs, self.options.describe),
            failed: states(false),
            held: states(true),
        })
    }

    fn event(&mut self, event: u32) -> Result<EventInfo, ExplainError> {
        let matched = self.matched.events()[event as usize];
        let record = Record::read(&mut self.spool, matched.handle)?;
        Ok(record.info(matched.order, self.inputs, self.options.describe))
    }

    fn events(&mut self, events: &[u32]) -> Result<Vec<EventInfo>, ExplainError> {
        events.iter().map(|event| self.event(*event)).collect()
    }

    fn key(&self, key: KeyId) -> Vec<Value> {
        self.matched.keys().parts(key).into_iter().map(key_json).collect()
    }

    fn keys(&self) -> Vec<Vec<String>> {
        self.compiled.stages.iter().map(|stage| stage.keys.clone()).collect()
    }

    /// The number of the stage that each step of the plan stands for, runs expanded.
    fn numbers(&self) -> Vec<usize> {
        let stages = self.compiled.stages.iter().enumerate().filter(|(_, stage)| stage.role != Role::Until);
        stages.flat_map(|(index, stage)| std::iter::repeat_n(index + 1, stage.runs as usize)).collect()
    }

    fn hits(&mut self, detections: &[Detection]) -> Result<Vec<HitReport>, ExplainError> {
        let numbers = self.numbers();
        let mut hits = Vec::new();
        for detection in detections.iter().take(self.options.limit) {
            let mut events = Vec::new();
            for (place, event) in detection.events.iter().enumerate() {
                events.push(self.hit_event(numbers.get(place).copied().unwrap_or(1), *event)?);
            }
            hits.push(HitReport { key: detection.key.map(|key| self.key(key)).unwrap_or_default(), events });
        }
        Ok(hits)
    }

    fn hit_event(&mut self, stage: usize, event: Option<u32>) -> Result<HitEvent, ExplainError> {
        let Some(event) = event else { return Ok(HitEvent { stage, event: None, held: Vec::new() }) };
        let matched = self.matched.events()[event as usize];
        let record = Record::read(&mut self.spool, matched.handle)?;
        let clauses = &self.compiled.stages[stage - 1].clauses;
        let held = clauses.iter().map(|clause| record.state(clause)).collect();
        Ok(HitEvent { stage, event: Some(record.info(matched.order, self.inputs, self.options.describe)), held })
    }

    fn clock(&self) -> Clock<'_> {
        let order = self.compiled.plan.rules().plans()[RULE.0 as usize].order;
        Clock {
            matched: &self.matched,
            rule: RULE,
            own_time: order.timestamp.is_some(),
            own_order: order != Default::default(),
        }
    }

    fn sequence(&mut self, plan: &SequencePlan, detections: &[Detection]) -> Result<SequenceReport, ExplainError> {
        let numbers = self.numbers();
        let traced = trace(&self.clock(), plan, &numbers, detections, self.options.limit);
        let ended = traced.ended.into_iter().rev();
        let ended = ended.map(|((steps, reason), sequences)| EndCount { steps, reason, sequences }).collect();
        let positive: Vec<usize> =
            plan.steps.iter().zip(&numbers).filter(|(step, _)| !step.negated).map(|(_, number)| *number).collect();
        let longest = traced.longest.iter().map(|ended| self.partial(ended, plan, &positive));
        Ok(SequenceReport {
            longest: longest.collect::<Result<_, _>>()?,
            keys: self.keys(),
            maxspan_ns: plan.maxspan,
            keys_reached: traced.reached,
            ended,
        })
    }

    fn partial(&mut self, ended: &Ended, plan: &SequencePlan, steps: &[usize]) -> Result<Partial, ExplainError> {
        let end = self.end(ended, plan);
        let message = message(&end, steps);
        Ok(Partial {
            key: self.key(ended.key),
            steps: ended.events.len(),
            of: steps.len(),
            events: self.events(&ended.events)?,
            message,
            end,
        })
    }

    fn end(&self, ended: &Ended, plan: &SequencePlan) -> End {
        let clock = self.clock();
        let time = |event: u32| clock.time(event).and_then(iso);
        let step = ended.events.len() + 1;
        match ended.end {
            Cause::Forbidden { stage, event } => End::ForbiddenEvent { stage, time: time(event) },
            Cause::Maxspan { event, by } => End::MaxspanExceeded { step, by_ns: by, time: time(event) },
            Cause::Until { event } => End::Until { time: time(event) },
            Cause::Pipe => End::Pipe,
            Cause::WrongOrder { event } => {
                let last = ended.events.last().and_then(|last| clock.time(*last));
                let earlier = last.zip(clock.time(event)).map_or(0, |(last, time)| last.saturating_sub(time));
                End::WrongOrder { step, earlier_ns: earlier, time: time(event) }
            }
            Cause::NoNext => self.no_next(ended, plan, step),
        }
    }

    fn no_next(&self, ended: &Ended, plan: &SequencePlan, step: usize) -> End {
        let clock = self.clock();
        let positive = plan.steps.iter().filter(|step| !step.negated).nth(step - 1);
        let rows = positive.map_or(&[][..], |step| self.matched.rows(step.stage));
        let last = ended.events.last().and_then(|last| clock.time(*last)).unwrap_or_default();
        let others = rows.iter().filter(|row| row.key != ended.key);
        let nearest = others.min_by_key(|row| clock.time(row.event).map_or(u64::MAX, |time| time.abs_diff(last)));
        End::NoNextEvent {
            step,
            matching_elsewhere: rows.len() as u64,
            other_key: nearest.map(|row| self.key(row.key)),
        }
    }

    fn sample(&mut self, detections: &[Detection]) -> Result<SampleReport, ExplainError> {
        let rules = self.compiled.plan.rules().clone();
        let Plan::Sample(items) = &rules.plans()[RULE.0 as usize].plan else {
            return Ok(SampleReport { keys: self.keys(), keys_filled: Vec::new(), nearest: Vec::new() });
        };
        let fired = |key: KeyId| detections.iter().any(|found| found.key == Some(key));
        let (keys_filled, near) = sample::nearest(&self.matched, items, fired, self.options.limit);
        let mut nearest = Vec::new();
        for items in near {
            let first: Vec<u32> = items.events.iter().filter_map(|events| events.first().copied()).collect();
            let is_missing = |(index, events): (usize, &Vec<u32>)| events.is_empty().then_some(index + 1);
            nearest.push(SampleMiss {
                key: self.key(items.key),
                events: items.events.iter().map(|events| events.len() as u64).collect(),
                missing: items.events.iter().enumerate().filter_map(is_missing).collect(),
                first: self.events(&first)?,
            });
        }
        Ok(SampleReport { keys: self.keys(), keys_filled, nearest })
    }
}

/// What ended a sequence, in words; `steps` gives the stage's number by step.
fn message(end: &End, steps: &[usize]) -> String {
    let name =
        |step: &usize| steps.get(step - 1).map_or_else(|| format!("step {step}"), |stage| format!("stage {stage}"));
    let at = |time: &Option<String>| time.as_ref().map(|time| format!(" at {time}")).unwrap_or_default();
    match end {
        End::NoNextEvent { step, matching_elsewhere: 0, .. } => format!("no event matches {} at all", name(step)),
        End::NoNextEvent { step, matching_elsewhere, .. } => {
            format!("no event with this key matches {}; {matching_elsewhere} with other keys do", name(step))
        }
        End::WrongOrder { step, earlier_ns: 0, time } => {
            format!("the event for {} came first, in the same instant{}", name(step), at(time))
        }
        End::WrongOrder { step, earlier_ns, time } => {
            format!("wrong order: the event for {} came {} earlier{}", name(step), duration(*earlier_ns), at(time))
        }
        End::MaxspanExceeded { step, by_ns, time } => {
            format!("maxspan exceeded by {}: the event for {} came{}", duration(*by_ns), name(step), at(time))
        }
        End::Until { time } => format!("an until event ended it{}", at(time)),
        End::ForbiddenEvent { stage, time } => {
            format!("an event of stage {stage}, which must be missing, came{}", at(time))
        }
        End::Pipe => "complete, but left out by head or tail".to_owned(),
    }
}

/// A length of time, in its two largest units: `1 h 5 min`, `12 s`, `3.25 s`, `15 ms`.
pub(super) fn duration(nanos: i64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let nanos = nanos.unsigned_abs();
    let seconds = nanos / SECOND;
    let pair = |big: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big} {unit}"),
        small => format!("{big} {unit} {small} {small_unit}"),
    };
    match seconds {
        86_400.. => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
        3_600.. => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        60.. => pair(seconds / 60, "min", seconds % 60, "s"),
        1.. => {
            let text = format!("{seconds}.{:03}", nanos % SECOND / 1_000_000);
            format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
        }
        0 if nanos >= 1_000_000 => format!("{} ms", nanos / 1_000_000),
        0 => format!("{nanos} ns"),
    }
}
