use std::sync::Arc;

use eqlipse_ecs::FieldType;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// A column's number within its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldId(pub u32);

impl FieldId {
    /// The number as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A column: its dotted name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Dotted name, such as `process.parent.name`.
    pub name: String,
    /// The type that values take when they are pushed.
    pub ty: FieldType,
}

/// A place in the tree of path segments; the root is [`Schema::root`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathNode(u32);

#[derive(Debug, Default)]
struct Node {
    field: Option<FieldId>,
    children: HashMap<Box<str>, PathNode, RandomState>,
}

/// Which fields of an event become columns.
///
/// Decoders hold a [`PathNode`] while they walk into a document and [`step`](Self::step) along the keys; a step that
/// gives `None` means that nothing below is of interest and the value can be skipped unread.
#[derive(Debug)]
pub struct Schema {
    fields: Vec<Field>,
    by_name: HashMap<String, FieldId, RandomState>,
    nodes: Vec<Node>,
}

impl Schema {
    /// Starts an empty schema.
    pub fn builder() -> SchemaBuilder {
        SchemaBuilder::default()
    }

    /// All columns, by [`FieldId`].
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The column with this id.
    pub fn field(&self, id: FieldId) -> &Field {
        &self.fields[id.index()]
    }

    /// The column of this dotted name.
    pub fn lookup(&self, name: &str) -> Option<FieldId> {
        self.by_name.get(name).copied()
    }

    /// Where a walk starts.
    pub fn root(&self) -> PathNode {
        PathNode(0)
    }

    /// The node below `node` under `key`, which may itself be dotted (`"process.name"`).
    pub fn step(&self, node: PathNode, key: &str) -> Option<PathNode> {
        let children = &self.nodes[node.0 as usize].children;
        if let Some(next) = children.get(key) {
            return Some(*next);
        }
        let (head, rest) = key.split_once('.')?;
        self.step(*children.get(head)?, rest)
    }

    /// The column that ends at `node`, if one does.
    pub fn field_at(&self, node: PathNode) -> Option<FieldId> {
        self.nodes[node.0 as usize].field
    }

    /// Whether any column lies below `node`.
    pub fn has_children(&self, node: PathNode) -> bool {
        !self.nodes[node.0 as usize].children.is_empty()
    }
}

/// Collects the fields of a [`Schema`].
#[derive(Debug, Default)]
pub struct SchemaBuilder {
    fields: Vec<Field>,
    by_name: HashMap<String, FieldId, RandomState>,
}

impl SchemaBuilder {
    /// Adds a field with the type that the catalogue gives it, or returns the one already there.
    pub fn add(&mut self, name: &str) -> FieldId {
        let ty = eqlipse_ecs::field_type(name).unwrap_or(FieldType::Dynamic);
        self.add_typed(name, ty)
    }

    /// Adds a field with this type; a field already there keeps its type.
    pub fn add_typed(&mut self, name: &str, ty: FieldType) -> FieldId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = FieldId(self.fields.len() as u32);
        self.fields.push(Field { name: name.to_owned(), ty });
        self.by_name.insert(name.to_owned(), id);
        id
    }

    /// Finishes the schema.
    pub fn build(self) -> Arc<Schema> {
        let mut nodes = vec![Node::default()];
        for (index, field) in self.fields.iter().enumerate() {
            let mut at = 0usize;
            for segment in field.name.split('.') {
                let fresh = PathNode(nodes.len() as u32);
                let next = *nodes[at].children.entry(segment.into()).or_insert(fresh);
                if next == fresh {
                    nodes.push(Node::default());
                }
                at = next.0 as usize;
            }
            nodes[at].field = Some(FieldId(index as u32));
        }
        Arc::new(Schema { fields: self.fields, by_name: self.by_name, nodes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_along_nested_and_dotted_keys() {
        let mut builder = Schema::builder();
        let name = builder.add("process.name");
        let parent = builder.add("process.parent.name");
        assert_eq!(builder.add("process.name"), name);
        let schema = builder.build();

        let process = schema.step(schema.root(), "process").unwrap();
        assert_eq!(schema.field_at(process), None);
        assert_eq!(schema.field_at(schema.step(process, "name").unwrap()), Some(name));
        assert_eq!(schema.field_at(schema.step(process, "parent.name").unwrap()), Some(parent));
        assert_eq!(schema.field_at(schema.step(schema.root(), "process.parent.name").unwrap()), Some(parent));
        assert_eq!(schema.step(schema.root(), "host"), None);
        assert_eq!(schema.step(process, "parent.pid"), None);
    }
}
