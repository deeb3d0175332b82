//! Pipes: expressions over results instead of events.
//!
//! They are lowered like conditions on events, but over columns of their own: `x` in a pipe means `x` of the result's
//! first event, `events[1].x` that of its second, and `count`, `percent` and `key` what a counting pipe added.

use std::sync::Arc;

use eqlipse_batch::{FieldId, Schema, SchemaBuilder};
use eqlipse_ecs::FieldType;
use eqlipse_eql::ast::{Expr, ExprKind, Field, Pipe, PipeKind};
use eqlipse_eql::visit::is_count_field;

use super::graph::{Graph, NodeId};
use super::lower::Lowering;
use super::rule_set::{CompileError, FieldTypes};
use crate::script::Script;

/// The pipes of one rule.
#[derive(Debug, Default)]
pub struct Pipes {
    pub(crate) pipes: Vec<PipePlan>,
    /// The conditions of all `filter` pipes.
    pub(crate) graph: Graph,
    /// What each column of the conditions and keys stands for.
    pub(crate) slots: Vec<Slot>,
    /// The events' fields that the pipes read, which are kept of every matched event.
    pub(crate) carried: Vec<FieldId>,
}

/// A pipe.
#[derive(Debug)]
pub(crate) enum PipePlan {
    Head(u64),
    Tail(u64),
    Filter(NodeId),
    Unique(Vec<Key>),
    UniqueCount(Vec<Key>),
    Count(Vec<Key>),
    Sort(Vec<Key>),
}

/// An expression that results are told apart or put in order by.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) script: Script,
    /// The columns that fill the script's slots.
    pub(crate) columns: Vec<FieldId>,
}

/// What a column of a pipe's expression holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A field of one of the result's events.
    Event {
        /// Place of the event in the result.
        event: u32,
        /// Place of the field among those carried.
        carried: usize,
        /// The field's type.
        ty: FieldType,
    },
    Count,
    Percent,
    Key,
}

/// Lowers the pipes of a rule; `types` and `schema` are those of the events.
pub(super) fn lower(
    pipes: &[Pipe],
    types: &Arc<FieldTypes>,
    schema: &mut SchemaBuilder,
) -> Result<Pipes, CompileError> {
    let mut compiler =
        Compiler { types: types.clone(), schema, columns: Schema::builder(), compiled: Pipes::default() };
    for (index, pipe) in pipes.iter().enumerate() {
        let pipe = compiler.pipe(&pipe.kind, &pipes[..index])?;
        compiler.compiled.pipes.push(pipe);
    }
    Ok(compiler.compiled)
}

struct Compiler<'a> {
    types: Arc<FieldTypes>,
    schema: &'a mut SchemaBuilder,
    columns: SchemaBuilder,
    compiled: Pipes,
}

impl Compiler<'_> {
    fn pipe(&mut self, kind: &PipeKind, before: &[Pipe]) -> Result<PipePlan, CompileError> {
        Ok(match kind {
            PipeKind::Head(count) => PipePlan::Head(*count),
            PipeKind::Tail(count) => PipePlan::Tail(*count),
            PipeKind::Filter(condition) => {
                let condition = self.over_columns(condition, before);
                PipePlan::Filter(self.lowering(|lowering| lowering.condition(&condition, false))?)
            }
            PipeKind::Unique(keys) => PipePlan::Unique(self.keys(keys, before)?),
            PipeKind::UniqueCount(keys) => PipePlan::UniqueCount(self.keys(keys, before)?),
            PipeKind::Count(keys) => PipePlan::Count(self.keys(keys, before)?),
            PipeKind::Sort(keys) => PipePlan::Sort(self.keys(keys, before)?),
        })
    }

    fn keys(&mut self, keys: &[Expr], before: &[Pipe]) -> Result<Vec<Key>, CompileError> {
        let mut compile = |key: &Expr| {
            let key = self.over_columns(key, before);
            let (script, columns) = self.lowering(|lowering| lowering.script(&key))?;
            Ok(Key { script, columns })
        };
        keys.iter().map(&mut compile).collect()
    }

    fn lowering<T>(&mut self, lower: impl FnOnce(&mut Lowering<'_>) -> T) -> T {
        let slots = &self.compiled.slots;
        let types = |name: &str| {
            let slot = name.parse().ok().and_then(|index: usize| slots.get(index));
            Some(slot.map_or(FieldType::Dynamic, |slot| slot.field_type()))
        };
        lower(&mut Lowering { graph: &mut self.compiled.graph, schema: &mut self.columns, types: &types })
    }

    /// The expression with each field replaced by the column that stands for it, by the column's number.
    fn over_columns(&mut self, expr: &Expr, before: &[Pipe]) -> Expr {
        let mut expr = expr.clone();
        self.replace(&mut expr, before);
        expr
    }

    fn replace(&mut self, expr: &mut Expr, before: &[Pipe]) {
        let slot = match &expr.kind {
            ExprKind::Field(field) if is_count_field(&field.name, before) => match &*field.name {
                "count" => Some((Slot::Count, field)),
                "percent" => Some((Slot::Percent, field)),
                _ => Some((Slot::Key, field)),
            },
            ExprKind::Field(field) => Some((self.event_slot(0, field), field)),
            ExprKind::EventField { event, field } => Some((self.event_slot(*event, field), field)),
            _ => None,
        };
        if let Some((slot, field)) = slot {
            let name = self.column(slot).0.to_string();
            expr.kind = ExprKind::Field(Field { name, ..field.clone() });
        }
        for child in expr.children_mut() {
            self.replace(child, before);
        }
    }

    fn event_slot(&mut self, event: u32, field: &Field) -> Slot {
        let ty = (self.types)(&field.name).unwrap_or(FieldType::Dynamic);
        let id = self.schema.add_typed(&field.name, ty);
        let carried = &mut self.compiled.carried;
        let place = carried.iter().position(|known| *known == id).unwrap_or_else(|| {
            carried.push(id);
            carried.len() - 1
        });
        Slot::Event { event, carried: place, ty }
    }

    /// The column of a slot. Its name is its number, which is also its place among the slots.
    fn column(&mut self, slot: Slot) -> FieldId {
        let slots = &mut self.compiled.slots;
        let place = slots.iter().position(|known| *known == slot).unwrap_or_else(|| {
            slots.push(slot);
            slots.len() - 1
        });
        self.columns.add_typed(&place.to_string(), slot.field_type())
    }
}

impl Slot {
    pub(crate) fn field_type(self) -> FieldType {
        match self {
            Slot::Event { ty, .. } => ty,
            Slot::Count => FieldType::Long,
            Slot::Percent => FieldType::Double,
            Slot::Key => FieldType::Dynamic,
        }
    }
}
