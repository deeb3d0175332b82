//! Making a query compare texts without regard to case.

use eqlipse_eql::ast::{Body, CompareOp, Expr, ExprKind, Literal, MatchOp, Query};

/// Makes the conditions of a query compare texts without case, as their forms with `~` do: `==` and `!=` against a
/// constant, `in`, `like`, `regex`, and every function that has a form with `~`.
///
/// What has no form with `~` stays as it is: `<` and its kin, join keys, and the event category.
pub(crate) fn ignore_case(query: &mut Query) {
    match &mut query.body {
        Body::Event(filter) => ignore_case_in(&mut filter.condition),
        Body::Sequence(sequence) => sequence
            .items
            .iter_mut()
            .chain(&mut sequence.until)
            .for_each(|item| ignore_case_in(&mut item.filter.condition)),
        Body::Sample(sample) => {
            sample.items.iter_mut().for_each(|item| ignore_case_in(&mut item.filter.condition));
        }
    }
}

/// The same for one expression.
fn ignore_case_in(expr: &mut Expr) {
    expr.children_mut().into_iter().for_each(ignore_case_in);
    match &mut expr.kind {
        ExprKind::Match { op, .. } => {
            *op = match *op {
                MatchOp::Like => MatchOp::LikeFold,
                MatchOp::Regex => MatchOp::RegexFold,
                other => other,
            }
        }
        ExprKind::In { fold, .. } => *fold = true,
        ExprKind::Call { function, fold, .. } => *fold = function.signature().fold,
        ExprKind::Compare { .. } => equality(expr),
        _ => {}
    }
}

/// `a == "x"` becomes `a in~ ("x")`, which is the same question without case.
fn equality(expr: &mut Expr) {
    let ExprKind::Compare { op: op @ (CompareOp::Eq | CompareOp::Ne), left, right } = &mut expr.kind else { return };
    let (subject, constant) = match (may_be_text(left), may_be_text(right)) {
        (_, true) => (left, right),
        (true, false) => (right, left),
        (false, false) => return,
    };
    let take = |expr: &mut Expr| std::mem::replace(expr, Expr { kind: ExprKind::Literal(Literal::Null), ..*expr });
    let negated = *op == CompareOp::Ne;
    expr.kind = ExprKind::In { subject: Box::new(take(subject)), fold: true, negated, list: vec![take(constant)] };
}

/// Whether this is a constant that may come to a text.
fn may_be_text(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Literal(literal) => matches!(literal, Literal::String(_)),
        ExprKind::Call { .. } => expr.is_constant(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqlipse_eql::parse;

    fn folded(condition: &str) -> String {
        let mut query = parse(&format!("any where {condition}")).expect("well formed");
        ignore_case(&mut query);
        let text = query.to_string();
        assert_eq!(parse(&text).expect("well formed").to_string(), text);
        text.trim_start_matches("any where ").to_owned()
    }

    #[test]
    fn equality_with_a_text_becomes_membership() {
        assert_eq!(folded(r#"a == "X""#), r#"a in~ ("X")"#);
        assert_eq!(folded(r#"a != "X""#), r#"a not in~ ("X")"#);
        assert_eq!(folded(r#""X" == a"#), r#"a in~ ("X")"#);
        assert_eq!(folded(r#"a == concat("x", "y")"#), r#"a in~ (concat("x", "y"))"#);
        assert_eq!(folded(r#"not substring(a, 1) == "X""#), r#"not substring(a, 1) in~ ("X")"#);
    }

    #[test]
    fn what_is_no_text_stays() {
        for condition in ["a == 5", "a == null", "a != true", r#"a < "X""#, "a > 5"] {
            assert_eq!(folded(condition), condition);
        }
    }

    #[test]
    fn operators_and_functions_take_their_form_without_case() {
        assert_eq!(folded(r#"a in ("x", "y")"#), r#"a in~ ("x", "y")"#);
        assert_eq!(folded(r#"a not in ("x")"#), r#"a not in~ ("x")"#);
        assert_eq!(folded(r#"a like "x*""#), r#"a like~ "x*""#);
        assert_eq!(folded(r#"a : "x*""#), r#"a : "x*""#);
        assert_eq!(folded(r#"a regex "x.*""#), r#"a regex~ "x.*""#);
        assert_eq!(folded(r#"endsWith(a, "X")"#), r#"endsWith~(a, "X")"#);
        assert_eq!(folded(r#"length(between(a, "X", "Y")) > 3"#), r#"length(between~(a, "X", "Y")) > 3"#);
    }

    #[test]
    fn every_item_is_reached() {
        let sequence = r#"sequence by u with maxspan=1m
            [a where x == "1"] ![b where x == "2"] [c where true] until [d where x == "3"]"#;
        let mut query = parse(sequence).expect("well formed");
        ignore_case(&mut query);
        assert_eq!(query.to_string().matches("in~").count(), 3);
        let mut query = parse(r#"sample by u [a where x == "1"] [b where x == "2"]"#).expect("well formed");
        ignore_case(&mut query);
        assert_eq!(query.to_string().matches("in~").count(), 2);
    }
}
