//! Looking up names: what a bare name in an expression denotes.
//!
//! A bare name sees what is declared in the surrounding text (params, lets, created components), then the file.
//! It never sees attributes or inherited names, so a library that grows captures nothing.

use std::sync::Arc;

use crate::compose::layers::{Frame, Frames};
use crate::compose::schema::Declaration;
use crate::compose::{ClassId, Content, Flavor, Leaf, Role, Write};
use crate::diagnostic::Diagnostic;
use crate::evaluate::meant::is_like_a_number;
use crate::expression::ast::{Expression, Node, Root, Segment, Variable};
use crate::expression::functions::Function;
use crate::expression::parser::{self, ExpressionError, Place};
use crate::nearest::nearest;
use crate::resolver::Resolver;
use crate::source::{FileId, Span};
use crate::standard;
use crate::statement::{Literal, Reading, StatementId, Token};
use crate::symbol::Symbol;
use crate::types::show_token;
use crate::value::Value;

/// Where a name is looked up from.
struct Scope<'a> {
    body: Option<StatementId>,
    file: FileId,
    frames: &'a Frames,
    variables: &'a [Arc<Variable>],
    locals: Vec<Symbol>,
    class: ClassId,
}

impl Resolver<'_> {
    /// The expression of a literal, with its names looked up; `None` where it is wrong, which has been said.
    pub(crate) fn compile(
        &mut self,
        literal: &Literal,
        body: Option<StatementId>,
        frames: &Frames,
        variables: &[Arc<Variable>],
        class: ClassId,
    ) -> Option<Arc<Expression>> {
        if let Some(known) = self.compiled.get(&literal.id) {
            return known.clone();
        }
        let place = Place { literal: literal.span, text_start: literal.text_start };
        let parsed = match (&literal.token, literal.reading) {
            (Token::Text(text), Reading::Fill) => parser::parse_fill(text, place, &mut self.names),
            (Token::Text(text), _) => parser::parse(text, place, &mut self.names),
            (Token::Integer(number), _) => match i64::try_from(*number) {
                Ok(number) => Ok(Expression { node: Node::Constant(Value::Integer(number)), span: literal.span }),
                Err(_) => Err(ExpressionError {
                    span: literal.span,
                    message: format!("`{number}` is too large"),
                    help: None,
                    instead: None,
                }),
            },
            (Token::Decimal(number), _) => {
                Ok(Expression { node: Node::Constant(Value::Number(*number)), span: literal.span })
            }
            (Token::Boolean(value), _) => {
                Ok(Expression { node: Node::Constant(Value::Boolean(*value)), span: literal.span })
            }
            (Token::Null, _) => Ok(Expression { node: Node::Constant(Value::Unset), span: literal.span }),
        };
        let compiled = match parsed {
            Ok(mut expression) => {
                let file = literal.span.file;
                let mut scope = Scope { body, file, frames, variables, locals: Vec::new(), class };
                self.resolve(&mut expression, &mut scope, &show_token(&literal.token));
                Some(Arc::new(expression))
            }
            Err(error) => {
                let mut diagnostic = Diagnostic::new("E0409", error.message, error.span, "in this expression");
                let general = "expressions look like Rust's: `2 * base`, `if a then b else c`, `sum(wn.*.memory)`";
                diagnostic = diagnostic.help(error.help.unwrap_or_else(|| general.to_owned()));
                if let Some(instead) = error.instead {
                    diagnostic = diagnostic.help(format!("write `{instead}`")).suggest(error.span, instead);
                }
                self.report(diagnostic);
                None
            }
        };
        self.compiled.insert(literal.id, compiled.clone());
        compiled
    }

    fn resolve(&mut self, expression: &mut Expression, scope: &mut Scope<'_>, text: &str) {
        match &mut expression.node {
            Node::Constant(_) => {}
            Node::Path { root, segments } => *root = self.resolve_root(segments, scope, text),
            Node::Member(base, _) => self.resolve(base, scope, text),
            Node::Not(a) | Node::Negate(a) => self.resolve(a, scope, text),
            Node::Index(a, b) | Node::Binary(_, a, b) => {
                self.resolve(a, scope, text);
                self.resolve(b, scope, text);
            }
            Node::If(a, b, c) => {
                self.resolve(a, scope, text);
                self.resolve(b, scope, text);
                self.resolve(c, scope, text);
            }
            Node::Call(name, span, arguments) => {
                let Some(function) = Function::from_name(name).filter(|function| *function != Function::Fill) else {
                    let known: Vec<&str> = Function::ALL.iter().map(|function| function.name()).collect();
                    let error = Diagnostic::new("E0410", format!("there is no function `{name}`"), *span, "unknown");
                    let error = match nearest(name, known.iter().copied().filter(|name| *name != "fill")) {
                        Some(meant) => error.help(format!("did you mean `{meant}`?")).suggest(*span, meant),
                        None => error.help("see the list of functions in docs/language.md"),
                    };
                    self.report(error);
                    expression.node = Node::Path { root: Root::Poison, segments: Vec::new() };
                    return;
                };
                let (least, most) = function.arity();
                if arguments.len() < least || arguments.len() > most {
                    let message = format!("`{name}` does not take {} values", arguments.len());
                    let error = Diagnostic::new("E0410", message, *span, "wrong number of values");
                    self.report(error.help(format!("write `{}`", function.usage())));
                    expression.node = Node::Path { root: Root::Poison, segments: Vec::new() };
                    return;
                }
                for argument in arguments.iter_mut() {
                    if matches!(argument.node, Node::Lambda(..)) && !function.takes_lambda() {
                        let error =
                            Diagnostic::new("E0410", format!("`{name}` takes no `=>`"), argument.span, "not here");
                        self.report(error.help(format!("write `{}`", function.usage())));
                        argument.node = Node::Path { root: Root::Poison, segments: Vec::new() };
                    }
                    self.resolve(argument, scope, text);
                }
            }
            Node::List(items) | Node::Fill(items) => {
                items.iter_mut().for_each(|item| self.resolve(item, scope, text));
            }
            Node::Lambda(name, body) => {
                scope.locals.push(*name);
                self.resolve(body, scope, text);
                scope.locals.pop();
            }
        }
    }

    fn resolve_root(&mut self, segments: &[Segment], scope: &Scope<'_>, text: &str) -> Root {
        let Some(first) = segments.first() else { return Root::Poison };
        let name = Arc::clone(self.names.text(first.name));
        if let Some(depth) = scope.locals.iter().rev().position(|local| *local == first.name) {
            return Root::Local(depth);
        }
        match &*name {
            "this" => return Root::This,
            "parent" => return Root::Parent,
            "pool" => return Root::Pool,
            "index" => return Root::Index,
            "each" => return Root::Each,
            _ => {}
        }
        if let Some(variable) = scope.variables.iter().find(|variable| variable.name == name) {
            return Root::Variable(Arc::clone(variable));
        }
        let mut body = scope.body;
        for (level, frame) in scope.frames.iter().enumerate() {
            match (frame, body) {
                (Frame::Up(_), Some(statement)) => {
                    if let Some((root, found)) = self.declared_in(&self.statements[statement].body, first.name, level) {
                        self.used.insert(found);
                        return root;
                    }
                    body = self.statements[statement].parent;
                }
                (Frame::Root(file), _) => {
                    let statements = self.units.get(file).map(|unit| unit.statements.clone()).unwrap_or_default();
                    if let Some((root, found)) = self.declared_in(&statements, first.name, level) {
                        self.used.insert(found);
                        return root;
                    }
                }
                (Frame::Up(_), None) => break,
            }
        }
        let import = self.units.get_mut(&scope.file).and_then(|unit| unit.imports.get_mut(&first.name));
        if let Some(import) = import
            && segments.len() > 1
        {
            import.used = true;
            return import.file.map_or(Root::Poison, |file| Root::Namespace { file });
        }
        self.unknown_name(first, segments, scope, text);
        Root::Poison
    }

    /// What a name denotes among the statements of one body.
    fn declared_in(&self, statements: &[StatementId], name: Symbol, level: usize) -> Option<(Root, StatementId)> {
        let named =
            |id: &StatementId| self.plain_text(*id, 0).is_some_and(|(text, _)| self.names.known(&text) == Some(name));
        statements.iter().find_map(|id| {
            let line = &self.statements[*id];
            if !line.is_single() || line.is_property || !named(id) {
                return None;
            }
            let declared = match self.text(line.word()) {
                "param" | "argument" => None,
                "let" => Some(*id),
                word if standard::text(word).is_some() => None,
                _ => return None,
            };
            Some((Root::Member { level, declared }, *id))
        })
    }

    /// True for a param, let or component that a text sees by its bare name.
    pub(crate) fn is_visible(&self, name: &str, body: Option<StatementId>, file: FileId) -> bool {
        let Some(symbol) = self.names.known(name) else { return false };
        let mut body = body;
        while let Some(statement) = body {
            if self.declared_in(&self.statements[statement].body, symbol, 0).is_some() {
                return true;
            }
            body = self.statements[statement].parent;
        }
        self.units.get(&file).is_some_and(|unit| self.declared_in(&unit.statements, symbol, 0).is_some())
    }

    /// All names that a text sees, for suggestions.
    fn visible_names(&self, scope: &Scope<'_>) -> Vec<String> {
        let mut names: Vec<String> = scope.variables.iter().map(|variable| variable.name.to_string()).collect();
        names.extend(scope.locals.iter().map(|local| self.text(*local).to_owned()));
        let mut add = |statements: &[StatementId]| {
            for id in statements {
                let line = &self.statements[*id];
                let word = self.text(line.word());
                let declares = matches!(word, "param" | "argument" | "let") || standard::text(word).is_some();
                if declares
                    && line.is_single()
                    && let Some((name, _)) = self.plain_text(*id, 0)
                {
                    names.push(name.to_string());
                }
            }
        };
        let mut body = scope.body;
        while let Some(statement) = body {
            add(&self.statements[statement].body);
            body = self.statements[statement].parent;
        }
        if let Some(unit) = self.units.get(&scope.file) {
            add(&unit.statements);
            names.extend(unit.imports.keys().map(|name| self.text(*name).to_owned()));
        }
        names.extend(["this", "parent", "pool", "index", "each"].map(str::to_owned));
        names
    }

    fn unknown_name(&mut self, first: &Segment, segments: &[Segment], scope: &Scope<'_>, text: &str) {
        let name = Arc::clone(self.names.text(first.name));
        let visible = self.visible_names(scope);
        let mut error =
            Diagnostic::new("E0203", format!("nothing here is called `{name}`"), first.span, "unknown name");
        let attribute = self.attribute_around(scope.class, first.name);
        let parts: Vec<&str> = name.split('-').collect();
        let is_template = self.units.get(&scope.file).is_some_and(|unit| unit.templates.contains_key(&first.name));
        error = if let Some((prefix, span)) = attribute {
            error
                .label(span, "this attribute is not seen by a bare name")
                .help(format!("an attribute is reached as `{prefix}.{name}`"))
                .suggest(first.span, format!("{prefix}.{name}"))
        } else if is_template {
            error.help("a template is no value; name a component that extends it")
        } else if parts.len() == 2 && visible.iter().any(|known| known == parts[0]) {
            error.help(format!("to subtract, put spaces around the minus: `{} - {}`", parts[0], parts[1]))
        } else if let Some(meant) = nearest(&name, visible.iter().map(String::as_str)) {
            error.help(format!("did you mean `{meant}`?")).suggest(first.span, meant)
        } else if segments.len() == 1 && is_like_a_number(&name) {
            error.help("the number of an instance is called `index`").suggest(first.span, "index")
        } else if segments.len() == 1 && text == &*name {
            error.help("a bare name sees the params, lets and components of the surrounding text")
        } else {
            error.help("a bare name sees the params, lets and components of the surrounding text; text stands between single quotes")
        };
        self.report(error);
    }

    /// The way to an attribute of this name in the component around, or in the one around that.
    fn attribute_around(&self, class: ClassId, name: Symbol) -> Option<(&'static str, Span)> {
        let mut this = class;
        while matches!(self.class(this).flavor, Flavor::Record | Flavor::Item) {
            this = self.class(this).parent?;
        }
        for (prefix, at) in [("this", Some(this)), ("parent", self.class(this).parent)] {
            let found = self
                .class(at?)
                .member(name)
                .filter(|member| !matches!(&member.content, Content::Leaf(Leaf { role: Role::Let, .. })));
            if let Some(member) = found {
                return Some((prefix, member.span));
            }
        }
        None
    }

    /// Looks up the names of everything written at and below a class, whether it will be computed or not.
    pub(crate) fn compile_class(&mut self, id: ClassId) {
        for index in 0..self.class(id).members.len() {
            match &self.class(id).members[index].content {
                Content::Leaf(leaf) => {
                    let (writes, declaration) = (leaf.writes.clone(), leaf.declaration.clone());
                    writes.iter().for_each(|write| self.compile_write(id, write, declaration.as_deref()));
                }
                Content::Record(_) => {
                    if let Some(record) = self.record_class(id, index) {
                        self.compile_class(record);
                    }
                }
                Content::Items(_) => {
                    self.item_classes(id, index).iter().for_each(|item| self.compile_class(*item));
                }
                Content::Child(child) => {
                    let metas = [&child.count, &child.each, &child.need, &child.condition];
                    let metas: Vec<(Write, bool)> = metas
                        .iter()
                        .enumerate()
                        .flat_map(|(at, leaf)| leaf.writes.iter().map(move |write| (write.clone(), at == 1)))
                        .collect();
                    for (write, is_each) in metas {
                        self.compile_literals(id, &write, is_each, &[]);
                    }
                    if let Some((common, indexed)) = self.child_class(id, index) {
                        self.compile_class(common);
                        indexed.iter().for_each(|(_, _, class)| self.compile_class(*class));
                    }
                }
            }
        }
        for assertion in self.class(id).asserts.clone() {
            let literal = self.statements[assertion.statement].arguments[0].clone();
            self.compile(&literal, assertion.scope, &assertion.frames, &[], id);
        }
    }

    fn compile_write(&mut self, id: ClassId, write: &Write, declaration: Option<&Declaration>) {
        let plain = declaration.is_some_and(|declaration| declaration.ty.reads_expressions());
        let sees = declaration.map(|declaration| Arc::clone(&declaration.sees)).unwrap_or_default();
        self.compile_literals(id, write, plain, &sees);
        if write.first >= write.end && declaration.is_none() {
            self.compile_rows(id, write, write.holder);
        }
    }

    /// The rows of a `let`.
    fn compile_rows(&mut self, id: ClassId, write: &Write, holder: StatementId) {
        for part in self.statements[holder].body.clone() {
            let end = self.statements[part].arguments.len();
            self.compile_literals(id, &Write { holder: part, first: 0, end, ..write.clone() }, false, &[]);
            self.compile_rows(id, write, part);
        }
    }

    /// The values of a write; `plain` where literals without annotation are expressions as well.
    fn compile_literals(&mut self, id: ClassId, write: &Write, plain: bool, sees: &[Arc<Variable>]) {
        let literals = self.statements[write.holder].arguments[write.first..write.end].to_vec();
        for literal in &literals {
            let is_text = matches!(literal.token, Token::Text(_));
            if matches!(literal.reading, Reading::Compute | Reading::Fill)
                || (plain && is_text && literal.reading == Reading::Plain)
            {
                let sees = if literal.reading == Reading::Plain { sees } else { &[] };
                self.compile(literal, write.scope, &write.frames, sees, id);
            }
        }
    }
}
