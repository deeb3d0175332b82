//! Runs compiled definitions over a record's values.

use std::collections::BTreeMap;

use bumpalo::Bump;

use super::builder::Builder;
use super::chunk::RecordProblem;
use super::raw::RawEvent;
use super::template::{Compiler, Cursor, Element, Instance, MAX_NESTED_STREAMS, MAX_RECORD_WORK, Short, Step};
use super::value::{Value, kind};

/// Reads the records of one chunk.
pub struct Reader<'c, 'b> {
    chunk: &'c [u8],
    bump: &'b Bump,
    /// Compiled definitions by offset.
    templates: BTreeMap<usize, &'b [Step<'b>]>,
}

/// One record in the making.
struct Run<'r, 'c, 'b> {
    reader: &'r mut Reader<'c, 'b>,
    builder: Builder<'b>,
    work: usize,
    /// Of that, what definitions would have cost that were compiled already.
    spared: usize,
    limit: usize,
}

impl<'c, 'b> Reader<'c, 'b> {
    /// A reader for this chunk; texts go to `bump`.
    pub fn new(chunk: &'c [u8], bump: &'b Bump) -> Self {
        Self { chunk, bump, templates: BTreeMap::new() }
    }

    /// Reads the record whose binary XML lies at `start..end`. `budget` is the work left for the chunk.
    pub fn read(&mut self, start: usize, end: usize, budget: &mut usize) -> Result<RawEvent<'b>, RecordProblem> {
        let limit = MAX_RECORD_WORK.min(*budget);
        let bump = self.bump;
        let mut run = Run { reader: self, builder: Builder::new(bump), work: 0, spared: 0, limit };
        let result = run.stream(start, end, 0);
        let (work, spared, builder) = (run.work, run.spared, run.builder);
        *budget = budget.saturating_sub(work - spared + builder.work());
        result?;
        builder.finish()
    }

    /// The steps of the definition at `body..end`, and whether they were known.
    fn template(&mut self, body: usize, end: usize) -> Result<(&'b [Step<'b>], bool), RecordProblem> {
        if let Some(steps) = self.templates.get(&body) {
            return Ok((steps, true));
        }
        let cursor = Cursor { data: self.chunk, at: body };
        let steps = Compiler::new(cursor, end, true, self.bump).run()?;
        self.templates.insert(body, steps);
        Ok((steps, false))
    }
}

impl<'b> Run<'_, '_, 'b> {
    fn pay(&mut self, work: usize) -> Result<(), RecordProblem> {
        self.work += work;
        match self.work + self.builder.work() > self.limit {
            true => Err(RecordProblem::TooMuchWork { limit: self.limit }),
            false => Ok(()),
        }
    }

    /// Reads the stream at `start..end`: a template instance or bare elements.
    fn stream(&mut self, start: usize, end: usize, depth: usize) -> Result<(), RecordProblem> {
        if depth > MAX_NESTED_STREAMS {
            return Err(RecordProblem::NestedStreams { limit: MAX_NESTED_STREAMS });
        }
        let mut cursor = Cursor { data: self.reader.chunk, at: start };
        while cursor.at < end {
            let at = cursor.at;
            match cursor.u8()? {
                0x00 => break,
                0x0f => drop(cursor.take(3)?),
                0x0c => self.instance(&mut cursor, depth)?,
                _ => return self.elements(at, end, depth),
            }
            self.pay(1)?;
        }
        Ok(())
    }

    fn instance(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), RecordProblem> {
        let mut here = Cursor { data: self.reader.chunk, at: cursor.at };
        let instance = Instance::read(&mut here, self.reader.bump, &mut self.work)?;
        cursor.at = here.at;
        let end = instance.body.saturating_add(instance.length).min(self.reader.chunk.len());
        let cost = end.saturating_sub(instance.body);
        let (steps, known) = self.reader.template(instance.body, end)?;
        // Whether the record is within its limit must not depend on what was read before it.
        self.spared += if known { cost } else { 0 };
        self.pay(cost)?;
        self.steps(steps, instance.values, None, depth)
    }

    fn elements(&mut self, start: usize, end: usize, depth: usize) -> Result<(), RecordProblem> {
        self.pay(end - start)?;
        let cursor = Cursor { data: self.reader.chunk, at: start };
        let steps = Compiler::new(cursor, end, false, self.reader.bump).run()?;
        self.steps(steps, &[], None, depth)
    }

    /// Runs steps. `item` stands in for the array value of this number, inside one repetition of its element.
    fn steps(
        &mut self,
        steps: &'b [Step<'b>],
        values: &[Value<'_>],
        item: Option<(u16, Value<'_>)>,
        depth: usize,
    ) -> Result<(), RecordProblem> {
        let value = |id: u16| match item {
            Some((array, item)) if array == id => Some(item),
            _ => values.get(usize::from(id)).copied(),
        };
        // Ends of elements are counted from the whole definition's start, and slices of it start later.
        let base = steps.first().map_or(0, |first| if let Step::Open { end, .. } = first { *end as usize } else { 0 });
        let base = base.saturating_sub(steps.len());
        self.pay(steps.len())?;
        let mut at = 0;
        while let Some(step) = steps.get(at) {
            at += 1;
            match *step {
                Step::Open { element, name, depends, repeats, short, end } => {
                    let end = (end as usize).saturating_sub(base).max(at);
                    if depends.is_some_and(|id| value(id).is_none_or(Value::is_null)) {
                        at = end;
                        continue;
                    }
                    if self.short(element, short, value)? {
                        self.pay(0)?;
                        at = end;
                        continue;
                    }
                    let is_item = at == 1 && item.is_some();
                    let array = repeats.filter(|_| !is_item).and_then(|id| Some((id, value(id)?.items()?)));
                    if let Some((id, items)) = array {
                        let element = &steps[at - 1..end.min(steps.len())];
                        for item in items {
                            self.steps(element, values, Some((id, item)), depth)?;
                        }
                        at = end;
                        continue;
                    }
                    self.builder.open(element, name);
                }
                Step::Attribute(attribute) => self.builder.attribute(attribute),
                Step::Field(field, text) => self.builder.field(field, text),
                Step::Content => self.builder.content(),
                Step::Text(text) => self.builder.text(text),
                Step::Value(id) => match value(id) {
                    Some(value) if value.kind == kind::BINXML => self.nested(value.bytes, depth)?,
                    Some(value) => {
                        self.builder.value(value);
                        self.pay(0)?;
                    }
                    None => {}
                },
                Step::Close => self.builder.close()?,
            }
        }
        Ok(())
    }

    /// Takes an element of one of the usual shapes in one go. Says whether it did: an array, a nested stream or an
    /// element in an unusual place takes the long way.
    fn short<'v>(
        &mut self,
        element: Element,
        short: Short<'b>,
        value: impl Fn(u16) -> Option<Value<'v>>,
    ) -> Result<bool, RecordProblem> {
        let (Short::Leaf(id) | Short::Field(_, id)) = short else { return Ok(false) };
        let Some(value) = value(id).filter(|value| value.is_scalar()) else { return Ok(false) };
        match short {
            Short::Field(field, _) => self.builder.short_field(field, value),
            _ => Ok(self.builder.short_property(element, value)),
        }
    }

    fn nested(&mut self, bytes: &[u8], depth: usize) -> Result<(), RecordProblem> {
        // Values are slices of the chunk, and offsets inside them count from the chunk's start.
        let start = (bytes.as_ptr() as usize).wrapping_sub(self.reader.chunk.as_ptr() as usize);
        if bytes.is_empty() || start >= self.reader.chunk.len() {
            return Ok(());
        }
        self.stream(start, start + bytes.len(), depth + 1)
    }
}
