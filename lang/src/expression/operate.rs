//! What operators do with values and with types. Units must agree; nothing wraps around.

use tycoon_market::{Credits, Rate, TimeSpan};

use crate::expression::ast::Operator;
use crate::types::Type;
use crate::value::Value;

/// Why an operation has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OperationError {
    /// True where the kinds of value do not go together; otherwise the result cannot be held.
    pub(crate) kinds: bool,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl OperationError {
    pub(crate) fn kinds(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { kinds: true, message: message.into(), help: Some(help.into()) }
    }

    pub(crate) fn result(message: impl Into<String>) -> Self {
        Self { kinds: false, message: message.into(), help: None }
    }
}

type Outcome = Result<Value, OperationError>;

/// `left operator right` for values that are known.
pub(crate) fn binary(operator: Operator, left: &Value, right: &Value) -> Outcome {
    match operator {
        Operator::And | Operator::Or => {
            let (Value::Boolean(a), Value::Boolean(b)) = (left, right) else {
                return Err(no_such(operator, left, right));
            };
            Ok(Value::Boolean(if operator == Operator::And { *a && *b } else { *a || *b }))
        }
        Operator::Equal => equal(left, right).map(Value::Boolean),
        Operator::NotEqual => equal(left, right).map(|equal| Value::Boolean(!equal)),
        Operator::Less => compare(operator, left, right).map(|o| Value::Boolean(o.is_lt())),
        Operator::LessOrEqual => compare(operator, left, right).map(|o| Value::Boolean(o.is_le())),
        Operator::Greater => compare(operator, left, right).map(|o| Value::Boolean(o.is_gt())),
        Operator::GreaterOrEqual => compare(operator, left, right).map(|o| Value::Boolean(o.is_ge())),
        Operator::Add | Operator::Subtract => sum(operator, left, right),
        Operator::Multiply => product(left, right),
        Operator::Divide => quotient(left, right),
        Operator::Remainder => remainder(left, right),
    }
}

/// `!value`
pub(crate) fn not(value: &Value) -> Outcome {
    match value {
        Value::Boolean(value) => Ok(Value::Boolean(!value)),
        other => Err(OperationError::kinds(
            format!("`!` needs a boolean, not {}", other.describe()),
            "compare first, for example `!(a == b)`",
        )),
    }
}

/// `-value`
pub(crate) fn negate(value: &Value) -> Outcome {
    match value {
        Value::Integer(number) => number.checked_neg().map(Value::Integer).ok_or_else(too_large),
        Value::Number(number) => Ok(Value::Number(-number)),
        Value::Credits(amount) => Ok(Value::Credits(Credits::from_micros(amount.micros().saturating_neg()))),
        other => Err(OperationError::kinds(
            format!("`-` needs a number, not {}", other.describe()),
            "amounts of bytes and of time are never negative",
        )),
    }
}

fn too_large() -> OperationError {
    OperationError::result("the result is too large to be held")
}

fn below_zero(what: &str) -> OperationError {
    OperationError::result(format!("the result would be {what} below zero"))
}

fn no_such(operator: Operator, left: &Value, right: &Value) -> OperationError {
    let message = format!("`{operator}` cannot take {} and {}", left.describe(), right.describe());
    let help = match (operator, left, right) {
        (_, Value::Text(text), other) | (_, other, Value::Text(text))
            if !matches!(other, Value::Text(_)) && text.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            format!("`{text}` is text here; write `{text}` without quotes, or give its `let` or `param` a type")
        }
        (Operator::Add, Value::Text(_), _) | (Operator::Add, _, Value::Text(_)) => {
            "join texts with `(f)\"${a}${b}\"`".into()
        }
        (Operator::Add, Value::List(_), _) => "join lists with `concat(a, b)`".into(),
        (Operator::And | Operator::Or, ..) => "both sides must be booleans".into(),
        (_, Value::Unset, _) | (_, _, Value::Unset) => "test with `== unset` first".into(),
        (Operator::Multiply, ..) => "an amount is multiplied by a plain number".into(),
        _ => "both sides must have the same unit".into(),
    };
    OperationError::kinds(message, help)
}

/// Zero agrees with every unit.
fn is_zero(value: &Value) -> bool {
    matches!(value, Value::Integer(0))
}

fn with_unit_of(zero: &Value, other: &Value) -> Value {
    match other {
        Value::Bytes(_) => Value::Bytes(0),
        Value::Duration(_) => Value::Duration(TimeSpan::ZERO),
        Value::Credits(_) => Value::Credits(Credits::ZERO),
        Value::Rate(_) => Value::Rate(Rate::ZERO),
        Value::Bandwidth(_) => Value::Bandwidth(0),
        _ => zero.clone(),
    }
}

/// Gives a plain zero the unit of the other side, and a plain number the unit of money.
fn agree(left: &Value, right: &Value) -> (Value, Value) {
    let money = |value: &Value| match value {
        Value::Integer(number) => Credits::from_whole(*number).map(Value::Credits),
        Value::Number(number) => number.to_string().parse().ok().map(Value::Credits),
        _ => None,
    };
    match (left, right) {
        (left, right) if is_zero(left) => (with_unit_of(left, right), right.clone()),
        (left, right) if is_zero(right) => (left.clone(), with_unit_of(right, left)),
        (Value::Credits(_), number) => (left.clone(), money(number).unwrap_or_else(|| number.clone())),
        (number, Value::Credits(_)) => (money(number).unwrap_or_else(|| number.clone()), right.clone()),
        _ => (left.clone(), right.clone()),
    }
}

/// Equality; values of different kinds are refused rather than called different.
pub(crate) fn equal(left: &Value, right: &Value) -> Result<bool, OperationError> {
    let (left, right) = agree(left, right);
    match (&left, &right) {
        (Value::Unset, other) | (other, Value::Unset) => Ok(*other == Value::Unset),
        (Value::Integer(a), Value::Number(b)) | (Value::Number(b), Value::Integer(a)) => Ok(*a as f64 == *b),
        (Value::Ip(address), Value::Text(text)) | (Value::Text(text), Value::Ip(address)) => {
            Ok(address.to_string() == **text)
        }
        (Value::List(a), Value::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (a, b) if std::mem::discriminant(a) == std::mem::discriminant(b) => Ok(a == b),
        (a, b) => Err(no_such(Operator::Equal, a, b)),
    }
}

/// Order of numbers, amounts and texts.
pub(crate) fn compare(operator: Operator, left: &Value, right: &Value) -> Result<std::cmp::Ordering, OperationError> {
    let (left, right) = agree(left, right);
    match (&left, &right) {
        (Value::Integer(a), Value::Integer(b)) => Ok(a.cmp(b)),
        (Value::Integer(_) | Value::Number(_), Value::Integer(_) | Value::Number(_)) => {
            let (a, b) = (left.as_number().unwrap_or(0.0), right.as_number().unwrap_or(0.0));
            a.partial_cmp(&b).ok_or_else(too_large)
        }
        (Value::Bytes(a), Value::Bytes(b)) => Ok(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Ok(a.cmp(b)),
        (Value::Credits(a), Value::Credits(b)) => Ok(a.cmp(b)),
        (Value::Rate(a), Value::Rate(b)) => Ok(a.cmp(b)),
        (Value::Bandwidth(a), Value::Bandwidth(b)) => Ok(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
        (Value::Ip(a), Value::Ip(b)) => Ok(a.cmp(b)),
        (a, b) => Err(no_such(operator, a, b)),
    }
}

fn number(value: f64) -> Outcome {
    if value.is_finite() { Ok(Value::Number(value)) } else { Err(too_large()) }
}

fn sum(operator: Operator, left: &Value, right: &Value) -> Outcome {
    let add = operator == Operator::Add;
    let (left, right) = agree(left, right);
    let unsigned = |a: u64, b: u64, what: &str| {
        if add { a.checked_add(b).ok_or_else(too_large) } else { a.checked_sub(b).ok_or_else(|| below_zero(what)) }
    };
    match (&left, &right) {
        (Value::Integer(a), Value::Integer(b)) => {
            let result = if add { a.checked_add(*b) } else { a.checked_sub(*b) };
            result.map(Value::Integer).ok_or_else(too_large)
        }
        (Value::Integer(_) | Value::Number(_), Value::Integer(_) | Value::Number(_)) => {
            let (a, b) = (left.as_number().unwrap_or(0.0), right.as_number().unwrap_or(0.0));
            number(if add { a + b } else { a - b })
        }
        (Value::Bytes(a), Value::Bytes(b)) => unsigned(*a, *b, "an amount of bytes").map(Value::Bytes),
        (Value::Bandwidth(a), Value::Bandwidth(b)) => unsigned(*a, *b, "a bandwidth").map(Value::Bandwidth),
        (Value::Duration(a), Value::Duration(b)) => {
            unsigned(a.micros(), b.micros(), "a duration").map(|micros| Value::Duration(TimeSpan::from_micros(micros)))
        }
        (Value::Rate(a), Value::Rate(b)) => unsigned(a.picos_per_second(), b.picos_per_second(), "a rate")
            .map(|picos| Value::Rate(Rate::from_picos_per_second(picos))),
        (Value::Credits(a), Value::Credits(b)) => {
            let result = if add { a.checked_add(*b) } else { a.checked_sub(*b) };
            result.map(Value::Credits).ok_or_else(too_large)
        }
        (a, b) => Err(no_such(operator, a, b)),
    }
}

/// `amount × factor`, rounded to the nearest whole unit.
fn scaled(amount: u64, factor: f64) -> Result<u64, OperationError> {
    let result = (amount as f64 * factor).round();
    if result < 0.0 {
        return Err(below_zero("an amount"));
    }
    if result >= u64::MAX as f64 { Err(too_large()) } else { Ok(result as u64) }
}

/// `amount × factor` for a factor that is a value: exact for whole factors.
fn times(amount: u64, factor: &Value) -> Result<u64, OperationError> {
    match factor {
        Value::Integer(factor) => {
            let factor = u64::try_from(*factor).map_err(|_| below_zero("an amount"))?;
            amount.checked_mul(factor).ok_or_else(too_large)
        }
        other => scaled(amount, other.as_number().unwrap_or(0.0)),
    }
}

fn credits_times(amount: Credits, factor: f64) -> Result<Credits, OperationError> {
    let micros = (amount.micros() as f64 * factor).round();
    if micros.abs() >= i64::MAX as f64 { Err(too_large()) } else { Ok(Credits::from_micros(micros as i64)) }
}

fn product(left: &Value, right: &Value) -> Outcome {
    match (left, right) {
        (Value::Integer(a), Value::Integer(b)) => a.checked_mul(*b).map(Value::Integer).ok_or_else(too_large),
        (Value::Integer(_) | Value::Number(_), Value::Integer(_) | Value::Number(_)) => {
            number(left.as_number().unwrap_or(0.0) * right.as_number().unwrap_or(0.0))
        }
        (amount, factor @ (Value::Integer(_) | Value::Number(_)))
        | (factor @ (Value::Integer(_) | Value::Number(_)), amount) => match amount {
            Value::Bytes(bytes) => times(*bytes, factor).map(Value::Bytes),
            Value::Bandwidth(bits) => times(*bits, factor).map(Value::Bandwidth),
            Value::Duration(span) => {
                times(span.micros(), factor).map(|micros| Value::Duration(TimeSpan::from_micros(micros)))
            }
            Value::Rate(rate) => {
                times(rate.picos_per_second(), factor).map(|picos| Value::Rate(Rate::from_picos_per_second(picos)))
            }
            Value::Credits(amount) => match factor {
                Value::Integer(factor) => {
                    let micros = amount.micros().checked_mul(*factor).ok_or_else(too_large)?;
                    Ok(Value::Credits(Credits::from_micros(micros)))
                }
                other => credits_times(*amount, other.as_number().unwrap_or(0.0)).map(Value::Credits),
            },
            _ => Err(no_such(Operator::Multiply, left, right)),
        },
        (Value::Rate(rate), Value::Duration(span)) | (Value::Duration(span), Value::Rate(rate)) => {
            Ok(Value::Credits(rate.charge(*span, 0).0))
        }
        _ => Err(no_such(Operator::Multiply, left, right)),
    }
}

fn by_zero() -> OperationError {
    OperationError::result("this divides by zero")
}

/// A whole number where it divides evenly, otherwise any number.
fn ratio(left: u64, right: u64) -> Outcome {
    if right == 0 {
        return Err(by_zero());
    }
    match i64::try_from(left / right) {
        Ok(whole) if left.is_multiple_of(right) => Ok(Value::Integer(whole)),
        _ => number(left as f64 / right as f64),
    }
}

fn quotient(left: &Value, right: &Value) -> Outcome {
    match (left, right) {
        (Value::Integer(a), Value::Integer(b)) => {
            if *b == 0 {
                return Err(by_zero());
            }
            match (a.checked_rem(*b), a.checked_div(*b)) {
                (Some(0), Some(whole)) => Ok(Value::Integer(whole)),
                _ => number(*a as f64 / *b as f64),
            }
        }
        (Value::Bytes(a), Value::Bytes(b)) | (Value::Bandwidth(a), Value::Bandwidth(b)) => ratio(*a, *b),
        (Value::Duration(a), Value::Duration(b)) => ratio(a.micros(), b.micros()),
        (Value::Rate(a), Value::Rate(b)) => ratio(a.picos_per_second(), b.picos_per_second()),
        (Value::Credits(a), Value::Credits(b)) => quotient(&Value::Integer(a.micros()), &Value::Integer(b.micros())),
        (Value::Credits(amount), Value::Duration(span)) => {
            if span.is_zero() {
                return Err(by_zero());
            }
            Rate::of(*amount, *span).map(Value::Rate).ok_or_else(|| below_zero("a rate"))
        }
        (amount, Value::Integer(_) | Value::Number(_)) => {
            let divisor = right.as_number().unwrap_or(0.0);
            if divisor == 0.0 {
                return Err(by_zero());
            }
            let exact = |amount: u64| match right {
                Value::Integer(divisor) if *divisor > 0 => Ok(amount / divisor.unsigned_abs()),
                _ => scaled(amount, 1.0 / divisor),
            };
            match amount {
                Value::Integer(_) | Value::Number(_) => number(amount.as_number().unwrap_or(0.0) / divisor),
                Value::Bytes(bytes) => exact(*bytes).map(Value::Bytes),
                Value::Bandwidth(bits) => exact(*bits).map(Value::Bandwidth),
                Value::Duration(span) => {
                    exact(span.micros()).map(|micros| Value::Duration(TimeSpan::from_micros(micros)))
                }
                Value::Rate(rate) => {
                    exact(rate.picos_per_second()).map(|picos| Value::Rate(Rate::from_picos_per_second(picos)))
                }
                Value::Credits(credits) => credits_times(*credits, 1.0 / divisor).map(Value::Credits),
                _ => Err(no_such(Operator::Divide, left, right)),
            }
        }
        _ => Err(no_such(Operator::Divide, left, right)),
    }
}

fn remainder(left: &Value, right: &Value) -> Outcome {
    match (left, right) {
        (Value::Integer(_), Value::Integer(0)) | (Value::Bytes(_), Value::Bytes(0)) => Err(by_zero()),
        (Value::Integer(a), Value::Integer(b)) => Ok(Value::Integer(a.checked_rem(*b).unwrap_or(0))),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Value::Bytes(a % b)),
        (Value::Duration(a), Value::Duration(b)) if !b.is_zero() => {
            Ok(Value::Duration(TimeSpan::from_micros(a.micros() % b.micros())))
        }
        (Value::Duration(_), Value::Duration(_)) => Err(by_zero()),
        _ => Err(no_such(Operator::Remainder, left, right)),
    }
}

/// The type of `left operator right`, for values that are not known yet; refuses what can never work.
pub(crate) fn binary_type(operator: Operator, left: &Type, right: &Type) -> Result<Type, OperationError> {
    use Operator::{Add, And, Divide, Multiply, Or, Remainder, Subtract};
    let refuse = || {
        Err(OperationError::kinds(
            format!("`{operator}` cannot take a live {left} and a {right}"),
            "both sides must be of the same kind",
        ))
    };
    if *left == Type::Any || *right == Type::Any {
        let known = if *left == Type::Any { right } else { left };
        return Ok(match operator {
            Add | Subtract | Multiply | Divide | Remainder if *known != Type::Any => known.clone(),
            Add | Subtract | Multiply | Divide | Remainder => Type::Any,
            _ => Type::Boolean,
        });
    }
    let is_number = |ty: &Type| matches!(ty, Type::Integer | Type::Number);
    let agrees = left.fits(right)
        || right.fits(left)
        || (is_number(left) && is_number(right))
        || (is_number(left) && *right == Type::Credits)
        || (*left == Type::Credits && is_number(right));
    match operator {
        And | Or if *left == Type::Boolean && *right == Type::Boolean => Ok(Type::Boolean),
        And | Or => refuse(),
        operator if operator.precedence() == 3 => {
            if agrees {
                Ok(Type::Boolean)
            } else {
                refuse()
            }
        }
        Add | Subtract | Remainder if agrees => Ok(if *left == Type::Integer { right.clone() } else { left.clone() }),
        Multiply if is_number(left) => Ok(right.clone()),
        Multiply | Divide if is_number(right) => Ok(left.clone()),
        Multiply if matches!((left, right), (Type::Rate, Type::Duration) | (Type::Duration, Type::Rate)) => {
            Ok(Type::Credits)
        }
        Divide if left == right => Ok(Type::Number),
        Divide if *left == Type::Credits && *right == Type::Duration => Ok(Type::Rate),
        _ => refuse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(mib: u64) -> Value {
        Value::Bytes(mib << 20)
    }

    #[test]
    fn units_must_agree() {
        assert_eq!(binary(Operator::Add, &bytes(1), &bytes(2)), Ok(bytes(3)));
        assert_eq!(binary(Operator::Multiply, &Value::Integer(2), &bytes(2)), Ok(bytes(4)));
        assert_eq!(binary(Operator::Divide, &bytes(4), &bytes(2)), Ok(Value::Integer(2)));
        assert_eq!(binary(Operator::Add, &Value::Integer(0), &bytes(2)), Ok(bytes(2)), "zero agrees with every unit");
        assert!(binary(Operator::Add, &bytes(1), &Value::Integer(1)).is_err());
        assert!(binary(Operator::Less, &bytes(1), &Value::Duration(TimeSpan::ZERO)).is_err());
        assert!(binary(Operator::Equal, &bytes(1), &Value::Text("1MiB".into())).is_err());
    }

    #[test]
    fn money_per_time_times_time_is_money() {
        let rate = binary(
            Operator::Divide,
            &Value::Credits(Credits::from_micros(7_200_000)),
            &Value::Duration(TimeSpan::from_seconds(7200)),
        )
        .unwrap();
        let hour = Value::Duration(TimeSpan::from_seconds(3600));
        assert_eq!(binary(Operator::Multiply, &rate, &hour), Ok(Value::Credits(Credits::from_micros(3_600_000))));
    }

    #[test]
    fn nothing_wraps_around_and_nothing_is_cut_off() {
        assert!(binary(Operator::Add, &Value::Integer(i64::MAX), &Value::Integer(1)).is_err());
        assert!(binary(Operator::Subtract, &bytes(1), &bytes(2)).is_err());
        assert!(binary(Operator::Divide, &Value::Integer(1), &Value::Integer(0)).is_err());
        assert!(binary(Operator::Divide, &Value::Integer(i64::MIN), &Value::Integer(-1)).is_ok());
        assert!(binary(Operator::Remainder, &Value::Integer(i64::MIN), &Value::Integer(-1)).is_ok());
        assert_eq!(binary(Operator::Divide, &Value::Integer(5), &Value::Integer(2)), Ok(Value::Number(2.5)));
        assert!(binary(Operator::Multiply, &Value::Number(1e300), &Value::Number(1e300)).is_err());
    }
}
