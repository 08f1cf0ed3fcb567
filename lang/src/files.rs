//! Reading files, their imports, and the standard library.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::diagnostic::Diagnostic;
use crate::resolver::{Import, Resolver, Unit};
use crate::source::{FileId, LoadError, STANDARD, Span, directory_of, normalise_path};
use crate::standard;
use crate::statement::{Reading, StatementId, Token};
use crate::symbol::Symbol;
use crate::syntax::read;

/// Why a file's text cannot be used.
pub(crate) struct Unreadable {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// What can be shown of it.
    pub(crate) text: Arc<str>,
    /// The byte that is wrong.
    pub(crate) at: usize,
    pub(crate) help: &'static str,
}

impl Unreadable {
    /// A file of more bytes than are read.
    pub(crate) fn too_large(path: &str, limit: u64) -> Self {
        Self {
            code: "E0103",
            message: format!("`{path}` is larger than {limit} bytes"),
            text: Arc::from(""),
            at: 0,
            help: "use `count=`, `each=` and templates instead of spelling out what is alike, or split the file",
        }
    }
}

impl Resolver<'_> {
    /// Reads the main file with all its imports. Problems are reported; what could be read takes part.
    pub(crate) fn read_main(&mut self, path: &str) -> FileId {
        let normal = normalise_path(path);
        let mut by_path = BTreeMap::new();
        match self.read_bytes(&normal) {
            Ok(text) => self.read_unit(&normal, path, text, &mut by_path, &mut Vec::new()),
            Err(problem) => {
                let file = self.sources.add(path, problem.text);
                let span = Span::new(file, problem.at, problem.at);
                self.report(Diagnostic::new(problem.code, problem.message, span, "").help(problem.help));
                self.add_unit(file, &normal, Vec::new(), false);
                file
            }
        }
    }

    /// The text of a file, or what is wrong with it.
    pub(crate) fn read_bytes(&self, path: &str) -> Result<Arc<str>, Unreadable> {
        // The folder that everything is relative to has the empty path.
        let path = if path.is_empty() { "." } else { path };
        match self.loader.read(path) {
            Ok(bytes) => read::decode(path, bytes, self.options),
            Err(LoadError::TooLarge { limit }) => Err(Unreadable::too_large(path, limit)),
            Err(error) => Err(Unreadable {
                code: "E0101",
                message: format!("`{path}` cannot be read: {error}"),
                text: Arc::from(""),
                at: 0,
                help: match error {
                    LoadError::IsDirectory => "name a file in it, for example `./pool.kdl`",
                    LoadError::NotAllowed => "let the file be read: `chmod a+r`, or ask whose it is",
                    _ => "check the path",
                },
            }),
        }
    }

    pub(crate) fn add_unit(&mut self, file: FileId, path: &str, statements: Vec<StatementId>, is_standard: bool) {
        let unit = Unit {
            path: path.to_owned(),
            statements,
            imports: BTreeMap::new(),
            templates: BTreeMap::new(),
            is_standard,
            is_broken: false,
            class: None,
            instance: None,
        };
        self.units.insert(file, unit);
    }

    /// Reads the statements of a text; says what is wrong with it.
    pub(crate) fn read_text(&mut self, file: FileId, text: &str) -> (Vec<StatementId>, bool) {
        let (statements, problems) = self.parse_text(file, text);
        let broken = statements.is_empty() && !problems.is_empty();
        problems.into_iter().for_each(|problem| self.report(problem));
        (statements, broken)
    }

    /// The statements of a text, and what is wrong with it, which is not reported yet.
    pub(crate) fn parse_text(&mut self, file: FileId, text: &str) -> (Vec<StatementId>, Vec<Diagnostic>) {
        let mut problems = Vec::new();
        let statements = read::read(file, text, self.options, &mut self.names, &mut self.statements, &mut problems);
        (statements, problems)
    }

    fn read_unit(
        &mut self,
        path: &str,
        shown: &str,
        text: Arc<str>,
        by_path: &mut BTreeMap<String, FileId>,
        importing: &mut Vec<(String, Span)>,
    ) -> FileId {
        // A file of the user's that is called like one of the library's is still hers.
        let dotted = format!("./{shown}");
        let shown = if shown.starts_with(STANDARD) { &dotted } else { shown };
        let file = self.sources.add(shown, Arc::clone(&text));
        by_path.insert(path.to_owned(), file);
        let (statements, broken) = self.read_text(file, &text);
        self.add_unit(file, path, statements.clone(), false);
        if let Some(unit) = self.units.get_mut(&file) {
            unit.is_broken = broken;
        }
        self.find_templates(file, &statements);
        for statement in statements {
            if self.statements[statement].is_single() && self.text(self.statements[statement].word()) == "import" {
                self.import(file, statement, by_path, importing);
            }
        }
        file
    }

    fn find_templates(&mut self, file: FileId, statements: &[StatementId]) {
        for id in statements {
            let statement = &self.statements[*id];
            if !statement.is_single() || self.text(statement.word()) != "template" {
                continue;
            }
            let name = match statement.arguments.first() {
                Some(first) if first.reading == Reading::Plain => match &first.token {
                    Token::Text(name) => (Arc::clone(name), first.span),
                    _ => continue,
                },
                _ => continue,
            };
            let symbol = self.names.intern(&name.0);
            let earlier = self.units.get_mut(&file).and_then(|unit| unit.templates.insert(symbol, *id));
            if let Some(earlier) = earlier {
                let first = self.statements[earlier].span;
                let message = format!("the template `{}` is written twice", name.0);
                let error = Diagnostic::new("E0206", message, name.1, "the second time");
                self.report(error.label(first, "the first time").help("rename one of them"));
            }
        }
    }

    /// `import "./f.kdl" as=n sha256="…"`
    fn import(
        &mut self,
        file: FileId,
        statement: StatementId,
        by_path: &mut BTreeMap<String, FileId>,
        importing: &mut Vec<(String, Span)>,
    ) {
        let Some((namespace, namespace_span)) = self.import_name(statement) else { return };
        self.stray_in_import(statement);
        let Some((target, span)) = self.plain_text(statement, 0) else {
            let span = self.statements[statement].span;
            let error = Diagnostic::new("E0112", "an import needs the path of a file", span, "which file?");
            self.report(error.help("write `import \"./lib/cluster.kdl\" as=vc`"));
            return;
        };
        let importer = self.units[&file].path.clone();
        let Some(path) = self.import_path(&importer, &target, span) else {
            let import = Import { file: None, span: namespace_span, used: false };
            self.units.get_mut(&file).and_then(|unit| unit.imports.insert(namespace, import));
            return;
        };
        importing.push((importer, span));
        let found = self.imported_file(&path, span, by_path, importing);
        importing.pop();
        if let Some(found) = found {
            self.check_hash(statement, found);
        }
        let import = Import { file: found, span: namespace_span, used: false };
        let earlier = self.units.get_mut(&file).and_then(|unit| unit.imports.insert(namespace, import));
        if let Some(earlier) = earlier {
            let message = format!("two imports are called `{}`", self.text(namespace));
            let error = Diagnostic::new("E0206", message, namespace_span, "the second one");
            self.report(error.label(earlier.span, "the first one").help("give one of them another name with `as=`"));
        }
    }

    /// Reports what an import has besides its file, `as=` and `sha256=`.
    fn stray_in_import(&mut self, statement: StatementId) {
        let line = &self.statements[statement];
        let extra = line.arguments.get(1).map(|literal| literal.span);
        let unknown = line.body.iter().copied().find(|part| {
            let part = &self.statements[*part];
            !part.is_property || !matches!(self.text(part.word()), "as" | "sha256")
        });
        if let Some(span) = extra.or(unknown.map(|part| self.statements[part].span)) {
            let error = Diagnostic::new("E0112", "an import has a file, `as=` and `sha256=` only", span, "unexpected");
            self.report(error.help("write `import \"./lib/cluster.kdl\" as=vc`"));
        }
    }

    fn import_name(&mut self, statement: StatementId) -> Option<(Symbol, Span)> {
        let span = self.statements[statement].span;
        let Some(property) = self.property(statement, "as") else {
            let error = Diagnostic::new("E0112", "an import needs a name", span, "`as=` is missing");
            let path = self.plain_text(statement, 0).map(|(path, _)| path);
            let stem = path.as_deref().and_then(|path| path.rsplit('/').next()?.strip_suffix(".kdl"));
            let usable =
                |name: &&str| crate::compose::names::is_name(name) && !crate::compose::names::is_reserved(name);
            let name = stem.filter(usable).unwrap_or("name");
            let help = format!("choose one, for example `as={name}`; what it holds is then `{name}.Template`");
            self.report(error.help(help).suggest(span.after(), format!(" as={name}")));
            return None;
        };
        let (name, place) = self.plain_text(property, 0)?;
        if !crate::compose::names::is_name(&name) || crate::compose::names::is_reserved(&name) {
            let message = format!("`{name}` cannot name an import");
            let error = Diagnostic::new("E0208", message, place, "not a name");
            self.report(error.help("use letters, digits and `-`, with a letter first, and no word of the language"));
            return None;
        }
        Some((self.names.intern(&name), place))
    }

    /// The plain text of a statement's argument.
    pub(crate) fn plain_text(&self, statement: StatementId, argument: usize) -> Option<(Arc<str>, Span)> {
        let literal = self.statements[statement].arguments.get(argument)?;
        match (&literal.token, literal.reading) {
            (Token::Text(text), Reading::Plain) => Some((Arc::clone(text), literal.span)),
            _ => None,
        }
    }

    /// The normalised path of an import, if it may be read.
    fn import_path(&mut self, importer: &str, target: &str, span: Span) -> Option<String> {
        let directory = directory_of(importer);
        let joined = if target.starts_with('/') { target.to_owned() } else { format!("{directory}/{target}") };
        let joined = if directory.is_empty() && !target.starts_with('/') { target.to_owned() } else { joined };
        let path = normalise_path(&joined);
        let home = normalise_path(directory);
        let inside = if home.is_empty() {
            !path.starts_with("..") && !path.starts_with('/')
        } else {
            path.strip_prefix(&home).is_some_and(|rest| rest.starts_with('/')) || home == "/"
        };
        if !inside && !self.options.allow_outside_imports {
            let message = format!("`{target}` lies outside the directory of the file that imports it");
            let error = Diagnostic::new("E0109", message, span, "not below this file's directory");
            self.report(error.help("move the library below this file, or allow it with `--allow-outside-imports`"));
            return None;
        }
        Some(path)
    }

    fn imported_file(
        &mut self,
        path: &str,
        span: Span,
        by_path: &mut BTreeMap<String, FileId>,
        importing: &mut Vec<(String, Span)>,
    ) -> Option<FileId> {
        if let Some(start) = importing.iter().position(|(open, _)| open == path) {
            self.import_cycle(&importing[start..], span);
            return None;
        }
        if let Some(known) = by_path.get(path) {
            return Some(*known);
        }
        self.imported += 1;
        if self.imported > self.options.max_imports || importing.len() > self.options.max_depth {
            let limit = self.options.max_imports.min(self.options.max_depth);
            let message = if importing.len() > self.options.max_depth {
                format!("imports are nested more than {limit} deep")
            } else {
                format!("more than {} files are imported", self.options.max_imports)
            };
            self.report(Diagnostic::new("E0111", message, span, "one too many").help("join some of the files"));
            return None;
        }
        match self.read_bytes(path) {
            Ok(text) => Some(self.read_unit(path, path, text, by_path, importing)),
            Err(problem) if problem.code == "E0101" => {
                let error = Diagnostic::new(problem.code, problem.message, span, "imported here");
                self.report(error.help("paths are relative to the file that imports"));
                None
            }
            Err(problem) => {
                let file = self.sources.add(path, problem.text);
                let place = Span::new(file, problem.at, problem.at);
                let error = Diagnostic::new(problem.code, problem.message, place, "");
                self.report(error.label(span, "imported here").help(problem.help));
                None
            }
        }
    }

    fn import_cycle(&mut self, edges: &[(String, Span)], last: Span) {
        let mut error =
            Diagnostic::new("E0108", "these files import each other", last, "which leads back to the start");
        for (path, span) in edges {
            if *span != last {
                error = error.label(*span, format!("`{path}` imports this"));
            }
        }
        self.report(error.help("move what both need into a third file"));
    }

    fn check_hash(&mut self, statement: StatementId, file: FileId) {
        let Some(property) = self.property(statement, "sha256") else { return };
        let Some((wanted, span)) = self.plain_text(property, 0) else { return };
        let digest = Sha256::digest(self.sources.get(file).text.as_bytes());
        let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if !wanted.eq_ignore_ascii_case(&found) {
            let message = format!("`{}` is not the file that was meant: its hash differs", self.sources.get(file).name);
            let error = Diagnostic::new("E0110", message, span, "another hash is expected here");
            let error = error.note(format!("the file's SHA-256 is {found}"));
            self.report(
                error
                    .help("look at what changed in the file; if you trust it, write its new hash")
                    .suggest(span, format!("\"{found}\"")),
            );
        }
    }

    /// Reads the file of a kind; gives its statement.
    pub(crate) fn read_kind(&mut self, name: &str) -> Option<StatementId> {
        let text = standard::text(name)?;
        let text: Arc<str> = Arc::from(text);
        let file = self.sources.add(&format!("{STANDARD}{name}"), Arc::clone(&text));
        let (statements, _) = self.read_text(file, &text);
        self.add_unit(file, name, statements.clone(), true);
        statements.first().copied()
    }
}
