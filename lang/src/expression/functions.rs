//! The functions of the language. All are total: bounded, without recursion, without side effects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::expression::ast::Operator;
use crate::expression::operate::{self, OperationError};
use crate::types::Type;
use crate::value::Value;

/// The longest list or text a function may make.
pub(crate) const MAX_LENGTH: usize = 1_000_000;

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:literal $usage:literal $doc:literal;)*) => {
        /// A function that expressions can call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Function {
            $(#[doc = $doc] $variant,)*
        }

        impl Function {
            /// All functions, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name by which it is called.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// How a call looks.
            pub const fn usage(self) -> &'static str {
                match self { $(Self::$variant => $usage,)* }
            }

            /// What it does.
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }

            /// The least and the largest number of arguments.
            pub(crate) const fn arity(self) -> (usize, usize) {
                match self { $(Self::$variant => ($least, $most),)* }
            }
        }
    };
}

functions! {
    Sum "sum" 1 1 "sum(list)" "The sum of a list; zero for an empty one.";
    Min "min" 1 64 "min(a, b, …) or min(list)" "The least of several values.";
    Max "max" 1 64 "max(a, b, …) or max(list)" "The greatest of several values.";
    Count "count" 1 2 "count(list) or count(list, x => condition)" "How many values of a list are true, or satisfy a condition.";
    Any "any" 1 2 "any(list) or any(list, x => condition)" "True where at least one value is true, or satisfies a condition.";
    All "all" 1 2 "all(list) or all(list, x => condition)" "True where every value is true, or satisfies a condition.";
    Len "len" 1 1 "len(list)" "The number of values of a list, of rows of a table, of characters of a text.";
    Concat "concat" 1 64 "concat(list, list, …)" "One list of all values of several lists.";
    Join "join" 2 2 "join(list, separator)" "The values of a list as one text.";
    Format "format" 1 64 "format(\"node-{:03}\", n)" "A text with its `{}` filled in order; `{:03}` pads a number with zeros.";
    Range "range" 1 2 "range(n) or range(from, to)" "The whole numbers from 0, or from `from`, up to, not including, the last one.";
    Lookup "lookup" 2 3 "lookup(table, key, default)" "The value of a key of a table; the default, or an error, where there is none.";
    Keys "keys" 1 1 "keys(table)" "The keys of a table, in order.";
    Map "map" 2 2 "map(list, x => expression)" "The list of what an expression gives for every value.";
    Filter "filter" 2 2 "filter(list, x => condition)" "The values of a list that satisfy a condition.";
    Contains "contains" 2 2 "contains(list, value) or contains(text, part)" "True where a list has a value, or a text has a part.";
    StartsWith "starts-with" 2 2 "starts-with(text, part)" "True where a text begins with a part.";
    EndsWith "ends-with" 2 2 "ends-with(text, part)" "True where a text ends with a part.";
    Replace "replace" 3 3 "replace(text, part, by)" "A text with every occurrence of a part replaced.";
    Split "split" 2 2 "split(text, separator)" "The parts of a text between separators.";
    Lower "lower" 1 1 "lower(text)" "A text in lower-case letters.";
    Upper "upper" 1 1 "upper(text)" "A text in upper-case letters.";
    Abs "abs" 1 1 "abs(number)" "A number without its sign.";
    Floor "floor" 1 1 "floor(number)" "The greatest whole number not above a number.";
    Ceil "ceil" 1 1 "ceil(number)" "The least whole number not below a number.";
    Round "round" 1 1 "round(number)" "The nearest whole number; halves away from zero.";
    FirstLabel "first-label" 1 1 "first-label(\"node1.example.org\")" "A host name up to its first dot.";
    NthAddress "nth-address" 2 2 "nth-address(192.0.2.10, 3)" "The address so many after another one.";
    Tcp "tcp" 2 2 "tcp(address, port)" "True while something listens on a TCP port; known only while running.";
    Fill "fill" 0 1_000_000 "(f)\"…${a}…\"" "The text of several values, one after the other.";
}

type Outcome = Result<Value, OperationError>;

impl Function {
    /// The function of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|function| function.name() == name)
    }

    /// True for functions whose result is known only while the pool runs.
    pub fn is_live(self) -> bool {
        self == Self::Tcp
    }

    /// True for functions that may take `x => …`.
    pub(crate) fn takes_lambda(self) -> bool {
        matches!(self, Self::Count | Self::Any | Self::All | Self::Map | Self::Filter)
    }

    /// The type of the result, for arguments that are not known yet.
    pub(crate) fn result_type(self, arguments: &[Type]) -> Type {
        match self {
            Self::Count | Self::Len | Self::Floor | Self::Ceil | Self::Round => Type::Integer,
            Self::Any | Self::All | Self::Contains | Self::StartsWith | Self::EndsWith | Self::Tcp => Type::Boolean,
            Self::Join | Self::Format | Self::Replace | Self::Lower | Self::Upper | Self::FirstLabel | Self::Fill => {
                Type::Text
            }
            Self::NthAddress => Type::Ip,
            Self::Split => Type::List(Box::new(Type::Text)),
            Self::Sum | Self::Min | Self::Max | Self::Abs => {
                arguments.first().map_or(Type::Any, |ty| ty.element().clone())
            }
            _ => Type::Any,
        }
    }

    /// Calls the function with values that are known. `x => …` has been applied before: what comes here is the
    /// list of its results, or for `filter` the list and the list of truths.
    pub(crate) fn call(self, arguments: &[Value]) -> Outcome {
        match (self, arguments) {
            (Self::Sum, [list]) => self
                .list(list)?
                .iter()
                .try_fold(Value::Integer(0), |total, value| operate::binary(Operator::Add, &total, value)),
            (Self::Min, values) => self.extreme(values, Operator::Less),
            (Self::Max, values) => self.extreme(values, Operator::Greater),
            (Self::Count, [list]) => {
                let truths = self.truths(list)?;
                Ok(Value::Integer(truths.iter().filter(|truth| **truth).count() as i64))
            }
            (Self::Any, [list]) => Ok(Value::Boolean(self.truths(list)?.contains(&true))),
            (Self::All, [list]) => Ok(Value::Boolean(!self.truths(list)?.contains(&false))),
            (Self::Len, [Value::List(values)]) => Ok(Value::Integer(values.len() as i64)),
            (Self::Len, [Value::Table(table)]) => Ok(Value::Integer(table.len() as i64)),
            (Self::Len, [Value::Text(text)]) => Ok(Value::Integer(text.chars().count() as i64)),
            (Self::Concat, lists) => {
                let mut all = Vec::new();
                for list in lists {
                    all.extend_from_slice(self.list(list)?);
                    self.bounded(all.len())?;
                }
                Ok(Value::List(all.into()))
            }
            (Self::Join, [list, Value::Text(separator)]) => {
                let parts: Result<Vec<String>, OperationError> =
                    self.list(list)?.iter().map(|value| self.text_of(value)).collect();
                self.text(parts?.join(separator))
            }
            (Self::Fill, parts) => {
                let mut text = String::with_capacity(64);
                for part in parts {
                    match part {
                        Value::Text(part) => text.push_str(part),
                        part => text.push_str(&self.text_of(part)?),
                    }
                }
                self.text(text)
            }
            (Self::Format, [Value::Text(template), rest @ ..]) => self.format(template, rest),
            (Self::Range, [Value::Integer(end)]) => self.range(0, *end),
            (Self::Range, [Value::Integer(start), Value::Integer(end)]) => self.range(*start, *end),
            (Self::Lookup, [Value::Table(table), Value::Text(key), rest @ ..]) => {
                let found = table.get(key).or(rest.first()).cloned();
                found.ok_or_else(|| OperationError::result(format!("the table has no key `{key}`")))
            }
            (Self::Keys, [Value::Table(table)]) => {
                Ok(Value::List(table.iter().map(|(key, _)| Value::Text(Arc::clone(key))).collect()))
            }
            (Self::Map, [list]) => Ok(Value::List(self.list(list)?.into())),
            (Self::Filter, [list, truths]) => {
                let truths = self.truths(truths)?;
                let kept =
                    self.list(list)?.iter().zip(truths).filter(|(_, keep)| *keep).map(|(value, _)| value.clone());
                Ok(Value::List(kept.collect()))
            }
            (Self::Contains, [Value::List(values), wanted]) => {
                Ok(Value::Boolean(values.iter().any(|value| operate::equal(value, wanted).unwrap_or(false))))
            }
            (Self::Contains, [Value::Text(text), Value::Text(part)]) => Ok(Value::Boolean(text.contains(&**part))),
            (Self::StartsWith, [Value::Text(text), Value::Text(part)]) => Ok(Value::Boolean(text.starts_with(&**part))),
            (Self::EndsWith, [Value::Text(text), Value::Text(part)]) => Ok(Value::Boolean(text.ends_with(&**part))),
            (Self::Replace, [Value::Text(text), Value::Text(part), Value::Text(by)]) => {
                let count = if part.is_empty() { 0 } else { text.matches(&**part).count() };
                self.bounded(text.len().saturating_add(count.saturating_mul(by.len())))?;
                if part.is_empty() { Ok(Value::Text(Arc::clone(text))) } else { self.text(text.replace(&**part, by)) }
            }
            (Self::Split, [Value::Text(text), Value::Text(separator)]) if !separator.is_empty() => {
                Ok(Value::List(text.split(&**separator).map(|part| Value::Text(Arc::from(part))).collect()))
            }
            (Self::Lower, [Value::Text(text)]) => self.text(text.to_lowercase()),
            (Self::Upper, [Value::Text(text)]) => self.text(text.to_uppercase()),
            (Self::Abs, [Value::Integer(number)]) => number
                .checked_abs()
                .map(Value::Integer)
                .ok_or_else(|| OperationError::result("the number is too large")),
            (Self::Abs, [Value::Number(number)]) => Ok(Value::Number(number.abs())),
            (Self::Floor | Self::Ceil | Self::Round, [Value::Integer(number)]) => Ok(Value::Integer(*number)),
            (Self::Floor, [Value::Number(number)]) => whole(number.floor()),
            (Self::Ceil, [Value::Number(number)]) => whole(number.ceil()),
            (Self::Round, [Value::Number(number)]) => whole(number.round()),
            (Self::FirstLabel, [Value::Text(name)]) => self.text(name.split('.').next().unwrap_or_default().to_owned()),
            (Self::NthAddress, [Value::Ip(address), Value::Integer(number)]) => nth_address(*address, *number),
            (_, arguments) => Err(self.wrong_arguments(arguments)),
        }
    }

    fn wrong_arguments(self, arguments: &[Value]) -> OperationError {
        let given: Vec<String> = arguments.iter().map(Value::describe).collect();
        OperationError::kinds(
            format!(
                "`{}` cannot take {}",
                self.name(),
                if given.is_empty() { "nothing".into() } else { given.join(" and ") }
            ),
            format!("write `{}`", self.usage()),
        )
    }

    fn list(self, value: &Value) -> Result<&[Value], OperationError> {
        match value {
            Value::List(values) => Ok(values),
            other => Err(self.wrong_arguments(std::slice::from_ref(other))),
        }
    }

    fn truths(self, value: &Value) -> Result<Vec<bool>, OperationError> {
        let list = self.list(value)?;
        list.iter()
            .map(|value| value.as_boolean().ok_or_else(|| self.wrong_arguments(std::slice::from_ref(value))))
            .collect()
    }

    fn text_of(self, value: &Value) -> Result<String, OperationError> {
        value.to_fill().ok_or_else(|| {
            OperationError::kinds(
                format!("{} has no text", value.describe()),
                "fill in texts, numbers, amounts or addresses",
            )
        })
    }

    fn bounded(self, length: usize) -> Result<(), OperationError> {
        if length > MAX_LENGTH {
            return Err(OperationError::result(format!("`{}` would make more than {MAX_LENGTH} values", self.name())));
        }
        Ok(())
    }

    fn text(self, text: String) -> Outcome {
        self.bounded(text.len())?;
        Ok(Value::Text(text.into()))
    }

    fn extreme(self, values: &[Value], wanted: Operator) -> Outcome {
        let values = match values {
            [Value::List(values)] => values,
            values => values,
        };
        let Some((first, rest)) = values.split_first() else {
            return Err(OperationError::result(format!("`{}` of an empty list", self.name())));
        };
        rest.iter().try_fold(first.clone(), |best, value| {
            let better = operate::binary(wanted, value, &best)? == Value::Boolean(true);
            Ok(if better { value.clone() } else { best })
        })
    }

    fn range(self, start: i64, end: i64) -> Outcome {
        let length = usize::try_from(end.saturating_sub(start).max(0)).unwrap_or(usize::MAX);
        self.bounded(length)?;
        Ok(Value::List((start..end).map(Value::Integer).collect()))
    }

    fn format(self, template: &str, values: &[Value]) -> Outcome {
        let mut values = values.iter();
        let mut out = String::new();
        let mut rest = template;
        while let Some(open) = rest.find('{') {
            out.push_str(&rest[..open]);
            let Some(close) = rest[open..].find('}') else {
                return Err(OperationError::result("a `{` of the template is not closed"));
            };
            let spec = &rest[open + 1..open + close];
            let Some(value) = values.next() else {
                return Err(OperationError::result("the template has more `{}` than there are values"));
            };
            let text = self.text_of(value)?;
            match spec.strip_prefix(":0").map(|width| width.parse::<usize>()) {
                None if spec.is_empty() => out.push_str(&text),
                Some(Ok(width)) if width <= 64 => out.push_str(&format!("{text:0>width$}")),
                _ => return Err(OperationError::result(format!("`{{{spec}}}` is not known; use `{{}}` or `{{:03}}`"))),
            }
            rest = &rest[open + close + 1..];
        }
        if values.next().is_some() {
            return Err(OperationError::result("there are more values than `{}` in the template"));
        }
        out.push_str(rest);
        self.text(out)
    }
}

fn whole(number: f64) -> Outcome {
    if number.abs() < 9e15 {
        Ok(Value::Integer(number as i64))
    } else {
        Err(OperationError::result("the number is too large"))
    }
}

fn nth_address(address: IpAddr, number: i64) -> Outcome {
    let beyond = || OperationError::result(format!("there is no address {number} after {address}"));
    match address {
        IpAddr::V4(address) => {
            let sum = i64::from(u32::from(address)).checked_add(number);
            let sum = sum.and_then(|sum| u32::try_from(sum).ok()).ok_or_else(beyond)?;
            Ok(Value::Ip(IpAddr::V4(Ipv4Addr::from(sum))))
        }
        IpAddr::V6(address) => {
            let sum = u128::from(address).checked_add_signed(i128::from(number)).ok_or_else(beyond)?;
            Ok(Value::Ip(IpAddr::V6(Ipv6Addr::from(sum))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    fn list(values: &[Value]) -> Value {
        Value::List(values.into())
    }

    #[test]
    fn functions_compute() {
        use Value::{Boolean, Bytes, Integer};
        for (function, arguments, result) in [
            (Function::Sum, vec![list(&[Bytes(1), Bytes(2)])], Bytes(3)),
            (Function::Sum, vec![list(&[])], Integer(0)),
            (Function::Min, vec![Integer(3), Integer(2)], Integer(2)),
            (Function::Max, vec![list(&[Integer(3), Integer(2)])], Integer(3)),
            (Function::Count, vec![list(&[Boolean(true), Boolean(false)])], Integer(1)),
            (Function::All, vec![list(&[])], Boolean(true)),
            (Function::Len, vec![text("é")], Integer(1)),
            (Function::Join, vec![list(&[text("a"), Integer(1)]), text("-")], text("a-1")),
            (Function::Format, vec![text("n{:03}.{}"), Integer(7), text("x")], text("n007.x")),
            (Function::Range, vec![Integer(2), Integer(4)], list(&[Integer(2), Integer(3)])),
            (Function::FirstLabel, vec![text("a.b.c")], text("a")),
            (
                Function::NthAddress,
                vec![Value::Ip([192, 0, 2, 254].into()), Integer(2)],
                Value::Ip([192, 0, 3, 0].into()),
            ),
            (Function::Split, vec![text("a,b"), text(",")], list(&[text("a"), text("b")])),
            (
                Function::Filter,
                vec![list(&[Integer(1), Integer(2)]), list(&[Boolean(false), Boolean(true)])],
                list(&[Integer(2)]),
            ),
        ] {
            assert_eq!(function.call(&arguments), Ok(result), "{}{arguments:?}", function.name());
        }
    }

    #[test]
    fn functions_are_bounded_and_say_how_they_are_called() {
        assert!(Function::Range.call(&[Value::Integer(i64::MAX)]).is_err());
        assert!(Function::NthAddress.call(&[Value::Ip([255, 255, 255, 255].into()), Value::Integer(1)]).is_err());
        let error = Function::Len.call(&[Value::Boolean(true)]).unwrap_err();
        assert_eq!(error.message, "`len` cannot take a boolean");
        assert_eq!(error.help.as_deref(), Some("write `len(list)`"));
        assert!(Function::Format.call(&[text("{}")]).is_err());
    }
}
