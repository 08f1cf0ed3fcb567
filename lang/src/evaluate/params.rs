//! Params that are set from outside: by the environment, by files of params, on the command line, by a test.
//!
//! Each source is a layer of its own above the main file, and nearer wins: a test's `given`, then the command line,
//! then the files (a later one over an earlier one), then the environment, then what the file itself says.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::nearest::{alternatives, nearest};
use crate::options::PARAM_VARIABLE;
use crate::resolver::Resolver;
use crate::source::{FileId, Span, normalise_path};
use crate::statement::{Literal, Reading, Statement, StatementId, Token};
use crate::types::Type;

/// A value that was given as text: under which name, for which param, and what.
struct Given {
    shown: String,
    param: String,
    value: String,
}

impl Resolver<'_> {
    /// Puts the params given by the caller into layers of their own above the main file.
    pub(crate) fn add_params(&mut self, main: FileId) {
        let options = self.options;
        if options.environment.is_empty() && options.params_files.is_empty() && options.params.is_empty() {
            return;
        }
        let declared = self.declared_params(main);
        self.add_environment(&declared);
        for path in &options.params_files {
            self.add_params_file(path, &declared);
        }
        let given: Vec<Given> = options
            .params
            .iter()
            .map(|(name, value)| Given { shown: name.clone(), param: name.clone(), value: value.clone() })
            .collect();
        if !given.is_empty() {
            self.add_given_text("command line", &given, &declared);
        }
    }

    /// Puts the statements of a test's `given` into the nearest layer of all.
    pub(crate) fn add_given(&mut self, main: FileId, given: &[StatementId]) {
        debug_assert_eq!(self.main, Some(main));
        let file = self.sources.add("given", Arc::from(""));
        self.add_overlay(file, given.to_vec());
    }

    fn add_overlay(&mut self, file: FileId, statements: Vec<StatementId>) {
        let name = self.sources.get(file).name.to_string();
        self.add_unit(file, &name, statements, false);
        self.overlays.push(file);
    }

    /// Variables that set params of this file. Others may be meant for other files; only a likely slip is told.
    fn add_environment(&mut self, declared: &[String]) {
        let variables: BTreeMap<String, &String> = declared.iter().map(|name| (variable_of(name), name)).collect();
        let mut given = Vec::new();
        let mut slips = Vec::new();
        for (variable, value) in &self.options.environment {
            let meant: Vec<&String> = declared.iter().filter(|name| variable_of(name) == *variable).collect();
            if meant.is_empty() {
                let known = variables.keys().map(|name| name.trim_start_matches(PARAM_VARIABLE));
                let name = variable.trim_start_matches(PARAM_VARIABLE);
                slips.extend(nearest(name, known).map(|near| (variable, value, format!("{PARAM_VARIABLE}{near}"))));
            }
            given.extend(meant.into_iter().map(|name| Given {
                shown: variable.clone(),
                param: name.clone(),
                value: value.clone(),
            }));
        }
        if !given.is_empty() {
            self.add_given_text("environment", &given, declared);
        }
        for (variable, value, near) in slips {
            let file = self.sources.add("environment", Arc::from(format!("{variable}={}\n", one_line(value))));
            let span = Span::new(file, 0, variable.len());
            let message = format!("the variable `{variable}` sets no param of this file");
            let warning = Diagnostic::new("W0003", message, span, "sets nothing");
            self.report(warning.help(format!("did you mean `{near}`?")));
        }
    }

    /// A file with one `name value` to a line.
    fn add_params_file(&mut self, path: &str, declared: &[String]) {
        let text = match self.read_bytes(&normalise_path(path)) {
            Ok(text) => text,
            Err(problem) => {
                let file = self.sources.add(path, problem.text);
                let span = Span::new(file, problem.at, problem.at);
                self.report(Diagnostic::new(problem.code, problem.message, span, "").help(problem.help));
                return;
            }
        };
        let file = self.sources.add(path, Arc::clone(&text));
        let (statements, problems) = self.parse_text(file, &text);
        let looks = self.sample_file(declared);
        for problem in problems {
            self.report(match (&looks, problem.help.clone()) {
                (Some(looks), Some(help)) => problem.help(format!("{help}; {looks}")),
                (Some(looks), None) => problem.help(looks.clone()),
                (None, _) => problem,
            });
        }
        let mut kept: Vec<StatementId> = Vec::with_capacity(statements.len());
        let mut seen: BTreeMap<Arc<str>, Span> = BTreeMap::new();
        for id in statements {
            let Some(name) = self.param_line(id, declared) else { continue };
            let span = self.statements[id].name_span;
            if let Some(first) = seen.insert(Arc::clone(&name), span) {
                let error = Diagnostic::new("E0507", format!("`{name}` is set twice"), span, "the second time");
                self.report(error.label(first, "the first time").help("remove one of the lines"));
                continue;
            }
            kept.push(id);
        }
        self.add_overlay(file, kept);
    }

    /// The param that a line of a file sets; what is no such line is reported.
    fn param_line(&mut self, id: StatementId, declared: &[String]) -> Option<Arc<str>> {
        let line = &self.statements[id];
        let computed = line.arguments.iter().find(|literal| literal.reading != Reading::Plain);
        let wrong = if !line.is_single() {
            Some((line.name_span, "a file of params reaches into no component"))
        } else if line.annotation.is_some() || line.has_block || !line.body.is_empty() {
            Some((line.span, "a file of params has names and values only"))
        } else if let Some(literal) = computed {
            Some((literal.span, "nothing is computed in a file of params"))
        } else if line.arguments.is_empty() {
            Some((line.span, "a value is missing"))
        } else {
            None
        };
        let name = Arc::clone(self.names.text(line.word()));
        if let Some((span, label)) = wrong {
            let error = Diagnostic::new("E0507", "this line sets no param", span, label);
            let looks = match declared.iter().any(|known| *known == *name) {
                true => Some(format!("write for example `{}`", self.sample(&name))),
                false => self.sample_file(declared),
            };
            let looks = looks.unwrap_or_else(|| format!("write `{name} value`"));
            self.report(error.help(format!("{looks}; what a pool is made of stands in its description")));
            return None;
        }
        let span = line.name_span;
        self.is_declared(&name, span, declared, true).then_some(name)
    }

    /// How a file of params for this description looks; `None` where the description has no params.
    fn sample_file(&self, declared: &[String]) -> Option<String> {
        const SHOWN_MAX: usize = 3;
        let lines: Vec<String> =
            declared.iter().take(SHOWN_MAX).map(|name| format!("`{}`", self.sample(name))).collect();
        match &lines[..] {
            [] => None,
            [line] => Some(format!("a file of params has lines such as {line}")),
            [first, rest @ ..] => Some(format!(
                "a file of params has lines such as {first} and, on a line of its own, {}",
                rest.join(", ")
            )),
        }
    }

    /// A line of a file of params that sets a param of the main file: to its default, its first choice, or a value of
    /// its type.
    fn sample(&self, name: &str) -> String {
        let main = self.main.and_then(|main| self.units.get(&main));
        let mut statements = main.map(|unit| unit.statements.as_slice()).unwrap_or_default().iter().copied();
        let statement = statements.find(|id| {
            self.text(self.statements[*id].word()) == "param"
                && self.plain_text(*id, 0).is_some_and(|(found, _)| &*found == name)
        });
        let Some(statement) = statement else { return format!("{name} value") };
        let written = |holder: Option<StatementId>| {
            let literal = self.statements[holder?].arguments.first()?;
            (literal.reading == Reading::Plain).then(|| self.sources.text(literal.span))
        };
        let ty = self.property(statement, "type").and_then(|property| self.plain_text(property, 0));
        let of_type = || ty.and_then(|(ty, _)| Type::from_name(&ty, |_| false)).map_or("\"text\"", |ty| ty.sample());
        let value = written(self.property(statement, "default"))
            .or_else(|| written(self.child_statement(statement, "one-of")))
            .unwrap_or_else(of_type);
        format!("{name} {value}")
    }

    /// True where the main file has this param; otherwise that is reported. Only what stands in a file can be edited.
    fn is_declared(&mut self, name: &str, span: Span, declared: &[String], in_file: bool) -> bool {
        if declared.iter().any(|known| known == name) {
            return true;
        }
        let error = Diagnostic::new("E0506", format!("the file has no param `{name}`"), span, "unknown");
        self.report(match nearest(name, declared.iter().map(String::as_str)) {
            Some(meant) if in_file => error.help(format!("did you mean `{meant}`?")).suggest(span, meant),
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None if declared.is_empty() => error.help("the file has no params"),
            None => error.help(format!("it has {}", alternatives(declared, "and"))),
        });
        false
    }

    /// A layer of values that were given as text, read by the types of their params.
    fn add_given_text(&mut self, source: &str, given: &[Given], declared: &[String]) {
        let mut text = String::new();
        let mut places = Vec::new();
        for one in given {
            let start = text.len();
            text.push_str(&one.shown);
            let middle = text.len();
            text.push('=');
            text.push_str(&one_line(&one.value));
            places.push((start, middle, text.len()));
            text.push('\n');
        }
        let file = self.sources.add(source, Arc::from(text));
        let mut statements = Vec::new();
        for (one, (start, middle, end)) in given.iter().zip(places) {
            let name_span = Span::new(file, start, middle);
            if !self.is_declared(&one.param, name_span, declared, false) {
                continue;
            }
            let symbol = self.names.intern(&one.param);
            let literal = Literal {
                token: Token::Text(Arc::from(one.value.as_str())),
                reading: Reading::Foreign,
                span: Span::new(file, middle + 1, end),
                text_start: Some(middle + 1),
                id: self.statements.next_literal(),
            };
            statements.push(self.statements.add(Statement {
                file,
                annotation: None,
                path: vec![(symbol, name_span)],
                name_span,
                arguments: vec![literal],
                body: Vec::new(),
                has_block: false,
                is_property: false,
                parent: None,
                span: Span::new(file, start, end),
                end,
            }));
        }
        self.add_overlay(file, statements);
    }

    fn declared_params(&self, file: FileId) -> Vec<String> {
        let statements = self.units.get(&file).map(|unit| unit.statements.as_slice()).unwrap_or_default();
        let params = statements.iter().filter(|id| self.text(self.statements[**id].word()) == "param");
        params.filter_map(|id| self.plain_text(*id, 0).map(|(name, _)| name.to_string())).collect()
    }
}

/// The variable that sets a param: `TYCOON_PARAM_HEAD_MEMORY` for `head-memory`.
fn variable_of(param: &str) -> String {
    format!("{PARAM_VARIABLE}{}", param.to_ascii_uppercase().replace('-', "_"))
}

/// A value as it is shown; of the same length, so that places stay right.
fn one_line(value: &str) -> String {
    value.replace(['\n', '\r'], " ")
}
