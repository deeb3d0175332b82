//! Comparisons of fields with several values: true if any of the values passes, as in EQL.
//!
//! `event.type = 'start'` is a comparison of a list with a text where some event has several types. [`AnyValueRule`]
//! puts a function in its place before types are checked, so that a query does not depend on whether there is such an
//! event.

use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Datum, Scalar, UInt32Array};
use datafusion::arrow::compute::kernels::cmp;
use datafusion::arrow::compute::{and, ilike, like, regexp_is_match, take};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_nested::expr_fn::{array_has_any, make_array};
use datafusion::logical_expr::expr::{Between, InList, Like};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, not,
};
use datafusion::optimizer::AnalyzerRule;

/// Puts [`AnyValue`] in place of comparisons of lists with single values.
#[derive(Debug)]
pub(crate) struct AnyValueRule;

impl AnalyzerRule for AnyValueRule {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }

    fn name(&self) -> &str {
        "any_value"
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| rewrite(expr, &schema))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })?;
    if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
}

fn is_list(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::List(_)))
}

fn is_single(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|ty| !ty.is_nested() && ty != DataType::Null)
}

fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let negate = |expr: Expr, negated: bool| if negated { not(expr) } else { expr };
    let rewritten = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let sides = (
                is_list(&left, schema) && is_single(&right, schema),
                is_list(&right, schema) && is_single(&left, schema),
            );
            let (list, op, value) = match (sides, op.swap()) {
                ((true, _), _) => (left, op, right),
                ((_, true), Some(op)) => (right, op, left),
                _ => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
            };
            match Comparison::of(op) {
                Some((comparison, negated)) => negate(comparison.call(vec![*list, *value]), negated),
                None => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left: list, op, right: value }))),
            }
        }
        Expr::Like(Like { negated, expr, pattern, escape_char: None, case_insensitive })
            if is_list(&expr, schema) && is_single(&pattern, schema) =>
        {
            let comparison = if case_insensitive { Comparison::ILike } else { Comparison::Like };
            negate(comparison.call(vec![*expr, *pattern]), negated)
        }
        Expr::Between(Between { expr, negated, low, high })
            if is_list(&expr, schema) && is_single(&low, schema) && is_single(&high, schema) =>
        {
            negate(Comparison::Between.call(vec![*expr, *low, *high]), negated)
        }
        Expr::InList(InList { expr, list, negated })
            if is_list(&expr, schema) && list.iter().all(|value| is_single(value, schema)) =>
        {
            negate(array_has_any(*expr, make_array(list)), negated)
        }
        other => return Ok(Transformed::no(other)),
    };
    Ok(Transformed::yes(rewritten))
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Between,
    Like,
    ILike,
    Regex,
    RegexIgnoringCase,
}

impl Comparison {
    /// The comparison of an operator, and whether the operator is its opposite.
    fn of(op: Operator) -> Option<(Self, bool)> {
        Some(match op {
            Operator::Eq => (Self::Equal, false),
            Operator::NotEq => (Self::Equal, true),
            Operator::Lt => (Self::Less, false),
            Operator::LtEq => (Self::LessOrEqual, false),
            Operator::Gt => (Self::Greater, false),
            Operator::GtEq => (Self::GreaterOrEqual, false),
            Operator::LikeMatch => (Self::Like, false),
            Operator::NotLikeMatch => (Self::Like, true),
            Operator::ILikeMatch => (Self::ILike, false),
            Operator::NotILikeMatch => (Self::ILike, true),
            Operator::RegexMatch => (Self::Regex, false),
            Operator::RegexNotMatch => (Self::Regex, true),
            Operator::RegexIMatch => (Self::RegexIgnoringCase, false),
            Operator::RegexNotIMatch => (Self::RegexIgnoringCase, true),
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Equal => "any_equal",
            Self::Less => "any_less",
            Self::LessOrEqual => "any_less_or_equal",
            Self::Greater => "any_greater",
            Self::GreaterOrEqual => "any_greater_or_equal",
            Self::Between => "any_between",
            Self::Like => "any_like",
            Self::ILike => "any_ilike",
            Self::Regex => "any_regex",
            Self::RegexIgnoringCase => "any_regex_ignoring_case",
        }
    }

    fn is_for_texts(self) -> bool {
        matches!(self, Self::Like | Self::ILike | Self::Regex | Self::RegexIgnoringCase)
    }

    fn call(self, args: Vec<Expr>) -> Expr {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::new_from_impl(AnyValue { comparison: self, signature }).call(args)
    }

    /// Compares each value with the one beside it.
    fn compare(self, values: &ArrayRef, others: &[Other]) -> Result<BooleanArray, ArrowError> {
        let other = |place: usize| others.get(place).ok_or_else(|| ArrowError::ComputeError("no value".to_owned()));
        Ok(match self {
            Self::Equal => cmp::eq(values, other(0)?)?,
            Self::Less => cmp::lt(values, other(0)?)?,
            Self::LessOrEqual => cmp::lt_eq(values, other(0)?)?,
            Self::Greater => cmp::gt(values, other(0)?)?,
            Self::GreaterOrEqual => cmp::gt_eq(values, other(0)?)?,
            Self::Between => and(&cmp::gt_eq(values, other(0)?)?, &cmp::lt_eq(values, other(1)?)?)?,
            Self::Like => like(values, other(0)?)?,
            Self::ILike => ilike(values, other(0)?)?,
            Self::Regex | Self::RegexIgnoringCase => {
                let patterns = other(0)?.spread(values.len())?;
                let flag = (self == Self::RegexIgnoringCase).then_some("i");
                let flags = flag.map(|flag| vec![flag; values.len()]);
                let flags = flags.map(datafusion::arrow::array::StringArray::from);
                regexp_is_match(values.as_string::<i32>(), patterns.as_string::<i32>(), flags.as_ref())?
            }
        })
    }
}

/// What a list's values are compared with.
enum Other {
    /// The same for all rows.
    One(Scalar<ArrayRef>),
    /// One for each value.
    Each(ArrayRef),
}

impl Datum for Other {
    fn get(&self) -> (&dyn Array, bool) {
        match self {
            Self::One(scalar) => scalar.get(),
            Self::Each(array) => (array.as_ref(), false),
        }
    }
}

impl Other {
    fn new(value: &ColumnarValue, rows_of_values: &UInt32Array) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Scalar(scalar) => Self::One(Scalar::new(scalar.to_array()?)),
            ColumnarValue::Array(array) => Self::Each(take(array, rows_of_values, None)?),
        })
    }

    fn spread(&self, length: usize) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::One(scalar) => take(scalar.get().0, &UInt32Array::from(vec![0; length]), None),
            Self::Each(array) => Ok(array.clone()),
        }
    }
}

/// Whether any value of a list compares so with another value.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AnyValue {
    comparison: Comparison,
    signature: Signature,
}

impl ScalarUDFImpl for AnyValue {
    fn name(&self) -> &str {
        self.comparison.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [DataType::List(element), others @ ..] = types else {
            return plan_err!("{} compares a list with single values", self.name());
        };
        let mut common = element.data_type().clone();
        for other in others {
            common = match comparison_coercion(&common, other) {
                Some(common) => common,
                None => return plan_err!("a list of {} cannot be compared with {other}", element.data_type()),
            };
        }
        if self.comparison.is_for_texts() || common == DataType::Utf8View {
            common = DataType::Utf8;
        }
        // Where nothing is to be changed, the list is taken as it is.
        let list = if common == *element.data_type() {
            types[0].clone()
        } else {
            DataType::List(Arc::new(Field::new(element.name(), common.clone(), true)))
        };
        Ok(std::iter::once(list).chain(others.iter().map(|_| common.clone())).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [list, others @ ..] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("any_value without arguments".to_owned()));
        };
        let list = list.to_array(args.number_rows)?;
        let list = list.as_list::<i32>();
        let offsets = list.offsets();
        let (first, last) = (offsets[0] as usize, offsets[list.len()] as usize);
        let values = list.values().slice(first, last - first);
        let rows =
            (0..list.len()).flat_map(|row| std::iter::repeat_n(row as u32, (offsets[row + 1] - offsets[row]) as usize));
        let rows = UInt32Array::from_iter_values(rows);
        let others = others.iter().map(|other| Other::new(other, &rows)).collect::<Result<Vec<_>>>()?;
        let passed = self.comparison.compare(&values, &others)?;
        let of_row = |row: usize| {
            if list.is_null(row) {
                return None;
            }
            let mut places = offsets[row] as usize - first..offsets[row + 1] as usize - first;
            // A value beside nothing is neither equal nor unequal.
            match places.clone().any(|place| passed.is_valid(place) && passed.value(place)) {
                true => Some(true),
                false => places.all(|place| passed.is_valid(place)).then_some(false),
            }
        };
        let found: BooleanArray = (0..list.len()).map(of_row).collect();
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}
