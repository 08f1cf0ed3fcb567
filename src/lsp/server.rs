//! The conversation with an editor.
//!
//! One thread reads messages into a short queue, this one answers them in order. Diagnostics are made when the queue
//! is empty, so that who types fast is not answered for every letter.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use lsp_server::{ErrorCode, Message, Notification, Request, RequestId, Response};
use lsp_types::notification::{
    DidChangeTextDocument, DidCloseTextDocument, DidOpenTextDocument, Exit, Notification as _, PublishDiagnostics,
};
use lsp_types::request::{
    CodeActionRequest, Completion, Formatting, GotoDefinition, HoverRequest, Initialize, Request as _, Shutdown,
};
use lsp_types::{
    CodeAction, CodeActionKind, CodeActionOrCommand, CodeActionParams, CodeActionProviderCapability, CompletionOptions,
    CompletionParams, DidChangeTextDocumentParams, DidCloseTextDocumentParams, DidOpenTextDocumentParams,
    DocumentFormattingParams, GotoDefinitionParams, HoverContents, HoverParams, HoverProviderCapability,
    InitializeResult, OneOf, PublishDiagnosticsParams, ServerCapabilities, ServerInfo, TextDocumentPositionParams,
    TextDocumentSyncCapability, TextDocumentSyncKind, TextEdit, Uri, WorkspaceEdit,
};
use serde::de::DeserializeOwned;
use tycoon_lang::syntax::format::format;
use tycoon_lang::{Options, editor};

use crate::lsp::answers::{self, Mend};
use crate::lsp::documents::{Document, Documents, path_of};
use crate::lsp::position::{offset, range};
use crate::lsp::transport;

/// How many messages wait at most; the editor waits beyond that.
const QUEUE_MAX: usize = 64;

/// Answers an editor until it ends the conversation; true where it did so in order (`shutdown`, then `exit`).
///
/// # Errors
/// Where the stream breaks off or holds what is no message.
pub fn serve(input: impl Read + Send + 'static, output: impl Write, options: &Options) -> io::Result<bool> {
    let (sender, receiver) = sync_channel(QUEUE_MAX);
    // Not joined: it may wait for input that never comes, and ends with the process.
    std::thread::Builder::new().name("editor".into()).spawn(move || {
        let mut input = BufReader::new(input);
        loop {
            let message = transport::read(&mut input);
            let last = !matches!(&message, Ok(Some(message)) if !is_exit(message));
            if sender.send(message).is_err() || last {
                break;
            }
        }
    })?;
    let mut server = Server {
        output,
        options,
        documents: Documents::new(options.max_file_bytes),
        stale: BTreeSet::new(),
        published: BTreeMap::new(),
        mends: Vec::new(),
        initialized: false,
        shut_down: false,
    };
    server.run(&receiver)
}

fn is_exit(message: &Message) -> bool {
    matches!(message, Message::Notification(notification) if notification.method == Exit::METHOD)
}

struct Server<'a, W> {
    output: W,
    options: &'a Options,
    documents: Documents,
    /// The paths of documents whose findings are out of date.
    stale: BTreeSet<String>,
    /// For every open document, by its path: what was found from it, by the file it was found in.
    published: BTreeMap<String, BTreeMap<String, Vec<lsp_types::Diagnostic>>>,
    /// How what was found can be mended.
    mends: Vec<(String, Mend)>,
    initialized: bool,
    shut_down: bool,
}

/// An answer, or why there is none.
type Answer = Result<serde_json::Value, (ErrorCode, String)>;

impl<W: Write> Server<'_, W> {
    fn run(&mut self, receiver: &Receiver<io::Result<Option<Message>>>) -> io::Result<bool> {
        loop {
            let message = match receiver.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.publish_stale()?;
                    receiver.recv().ok()
                }
                found => found.ok(),
            };
            match message.transpose()?.flatten() {
                None => return Ok(self.shut_down),
                Some(message) if is_exit(&message) => return Ok(self.shut_down),
                Some(Message::Request(request)) => self.request(request)?,
                Some(Message::Notification(notification)) => self.notification(notification),
                Some(Message::Response(_)) => {}
            }
        }
    }

    fn send(&mut self, message: Message) -> io::Result<()> {
        message.write(&mut self.output)
    }

    fn request(&mut self, request: Request) -> io::Result<()> {
        let id: RequestId = request.id.clone();
        let answer = self.answer(request);
        let response = match answer {
            Ok(value) => Response::new_ok(id, value),
            Err((code, message)) => Response::new_err(id, code as i32, message),
        };
        self.send(Message::Response(response))
    }

    fn answer(&mut self, request: Request) -> Answer {
        if request.method == Initialize::METHOD {
            if std::mem::replace(&mut self.initialized, true) {
                return Err((ErrorCode::InvalidRequest, "the conversation has begun already".to_owned()));
            }
            return value(&InitializeResult {
                capabilities: capabilities(),
                server_info: Some(ServerInfo {
                    name: "tycoon".to_owned(),
                    version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                }),
            });
        }
        if !self.initialized {
            return Err((ErrorCode::ServerNotInitialized, "`initialize` comes first".to_owned()));
        }
        if self.shut_down {
            return Err((ErrorCode::InvalidRequest, "the conversation is over: only `exit` comes now".to_owned()));
        }
        match request.method.as_str() {
            Shutdown::METHOD => {
                self.shut_down = true;
                Ok(serde_json::Value::Null)
            }
            HoverRequest::METHOD => {
                let params: HoverParams = params(request.params)?;
                value(&self.hover(&params.text_document_position_params))
            }
            GotoDefinition::METHOD => {
                let params: GotoDefinitionParams = params(request.params)?;
                value(&self.definition(&params.text_document_position_params))
            }
            Completion::METHOD => {
                let params: CompletionParams = params(request.params)?;
                value(&self.completion(&params.text_document_position))
            }
            Formatting::METHOD => {
                let params: DocumentFormattingParams = params(request.params)?;
                value(&self.formatting(&params.text_document.uri))
            }
            CodeActionRequest::METHOD => {
                let params: CodeActionParams = params(request.params)?;
                value(&self.actions(&params))
            }
            other => Err((ErrorCode::MethodNotFound, format!("`{other}` is not known here"))),
        }
    }

    /// What cannot be understood is passed over: a notification has no answer.
    fn notification(&mut self, notification: Notification) {
        match notification.method.as_str() {
            DidOpenTextDocument::METHOD => {
                if let Ok(params) = params::<DidOpenTextDocumentParams>(notification.params) {
                    let opened = params.text_document;
                    let document = Document { uri: opened.uri, version: opened.version, text: opened.text };
                    self.documents.open(document);
                    self.all_are_stale();
                }
            }
            DidChangeTextDocument::METHOD => {
                if let Ok(params) = params::<DidChangeTextDocumentParams>(notification.params) {
                    let document = params.text_document;
                    self.documents.change(&document.uri, document.version, params.content_changes);
                    self.all_are_stale();
                }
            }
            DidCloseTextDocument::METHOD => {
                if let Ok(params) = params::<DidCloseTextDocumentParams>(notification.params) {
                    self.documents.close(&params.text_document.uri);
                    self.stale.insert(path_of(&params.text_document.uri));
                    self.all_are_stale();
                }
            }
            _ => {}
        }
    }

    /// A change of one document may change what is found in all that import it.
    fn all_are_stale(&mut self) {
        self.stale.extend(self.documents.all().map(|(path, _)| path.to_owned()));
    }

    /// Finds and publishes what is wrong with the documents that changed, or whose imports may have.
    fn publish_stale(&mut self) -> io::Result<()> {
        if self.stale.is_empty() {
            return Ok(());
        }
        let mut touched: BTreeSet<String> = BTreeSet::new();
        for path in std::mem::take(&mut self.stale) {
            let before = self.published.remove(&path).unwrap_or_default();
            touched.extend(before.into_keys());
            self.mends.retain(|(owner, _)| *owner != path);
            if self.documents.at_path(&path).is_none() {
                continue;
            }
            let findings = editor::diagnose(&path, &self.documents, self.options);
            let mut by_file: BTreeMap<String, Vec<lsp_types::Diagnostic>> = BTreeMap::new();
            // A document that is in order is told so.
            by_file.entry(path.clone()).or_default();
            for found in &findings.diagnostics {
                if let Some((uri, shown, mend)) = answers::diagnostic(&findings.sources, found) {
                    by_file.entry(path_of(&uri)).or_default().push(shown);
                    self.mends.extend(mend.map(|mend| (path.clone(), mend)));
                }
            }
            touched.extend(by_file.keys().cloned());
            self.published.insert(path, by_file);
        }
        for path in touched {
            self.publish(&path)?;
        }
        Ok(())
    }

    /// Publishes everything that was found in one file, from whichever document.
    fn publish(&mut self, path: &str) -> io::Result<()> {
        let document = self.documents.at_path(path);
        let version = document.map(|document| document.version);
        let uri = match document {
            Some(document) => Some(document.uri.clone()),
            None => crate::lsp::documents::uri_of(path),
        };
        let Some(uri) = uri else { return Ok(()) };
        let mut diagnostics: Vec<lsp_types::Diagnostic> = Vec::new();
        for found in self.published.values().filter_map(|by_file| by_file.get(path)).flatten() {
            if !diagnostics.contains(found) {
                diagnostics.push(found.clone());
            }
        }
        let params = PublishDiagnosticsParams { uri, diagnostics, version };
        self.send(Message::Notification(Notification::new(PublishDiagnostics::METHOD.to_owned(), params)))
    }

    /// The path, text and byte of a position in an open document.
    fn place(&self, place: &TextDocumentPositionParams) -> Option<(String, &Document, usize)> {
        let document = self.documents.get(&place.text_document.uri)?;
        Some((path_of(&document.uri), document, offset(&document.text, place.position)))
    }

    fn hover(&self, place: &TextDocumentPositionParams) -> Option<lsp_types::Hover> {
        let (path, document, at) = self.place(place)?;
        let found = editor::hover(&path, &self.documents, self.options, at)?;
        Some(lsp_types::Hover {
            contents: HoverContents::Markup(answers::markdown(found.markdown)),
            range: Some(range(&document.text, found.range)),
        })
    }

    fn definition(&self, place: &TextDocumentPositionParams) -> Option<lsp_types::Location> {
        let (path, _, at) = self.place(place)?;
        let found = editor::definition(&path, &self.documents, self.options, at)?;
        answers::location(&found.sources, found.span)
    }

    fn completion(&self, place: &TextDocumentPositionParams) -> Vec<lsp_types::CompletionItem> {
        let Some((path, document, at)) = self.place(place) else { return Vec::new() };
        let proposals = editor::complete(&path, &document.text, &self.documents, self.options, at);
        answers::completions(&document.text, proposals)
    }

    /// The whole text anew; nothing where it is formatted already, or is no KDL.
    fn formatting(&self, uri: &Uri) -> Option<Vec<TextEdit>> {
        let document = self.documents.get(uri)?;
        let formatted = format(&path_of(uri), &document.text, self.options).ok()?;
        if formatted == document.text {
            return Some(Vec::new());
        }
        Some(vec![TextEdit { range: range(&document.text, 0..document.text.len()), new_text: formatted }])
    }

    /// What can be mended at the place that the editor asks for.
    fn actions(&self, params: &CodeActionParams) -> Vec<CodeActionOrCommand> {
        let path = path_of(&params.text_document.uri);
        let (start, end) = (params.range.start, params.range.end);
        let here = |mend: &Mend| {
            let range = mend.diagnostic.range;
            path_of(&mend.uri) == path && range.start <= end && start <= range.end
        };
        let mut seen: Vec<String> = Vec::new();
        let mut actions = Vec::new();
        for (_, mend) in self.mends.iter().filter(|(_, mend)| here(mend)) {
            if seen.contains(&mend.title) {
                continue;
            }
            seen.push(mend.title.clone());
            // The protocol's own type of a set of changes is a map with this key.
            #[expect(
                clippy::mutable_key_type,
                reason = "the cell in a URI caches what was parsed, and is not compared"
            )]
            let changes = [(mend.uri.clone(), vec![mend.edit.clone()])].into_iter().collect();
            actions.push(CodeActionOrCommand::CodeAction(CodeAction {
                title: mend.title.clone(),
                kind: Some(CodeActionKind::QUICKFIX),
                diagnostics: Some(vec![mend.diagnostic.clone()]),
                edit: Some(WorkspaceEdit { changes: Some(changes), ..WorkspaceEdit::default() }),
                is_preferred: Some(true),
                ..CodeAction::default()
            }));
        }
        actions
    }
}

fn capabilities() -> ServerCapabilities {
    ServerCapabilities {
        // Positions count UTF-16 units, which is what the protocol means where nothing is said.
        text_document_sync: Some(TextDocumentSyncCapability::Kind(TextDocumentSyncKind::INCREMENTAL)),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        definition_provider: Some(OneOf::Left(true)),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some([".", "=", "$", "(", " "].map(str::to_owned).to_vec()),
            ..CompletionOptions::default()
        }),
        document_formatting_provider: Some(OneOf::Left(true)),
        code_action_provider: Some(CodeActionProviderCapability::Simple(true)),
        ..ServerCapabilities::default()
    }
}

fn params<T: DeserializeOwned>(params: serde_json::Value) -> Result<T, (ErrorCode, String)> {
    serde_json::from_value(params).map_err(|error| (ErrorCode::InvalidParams, error.to_string()))
}

fn value<T: serde::Serialize>(value: &T) -> Answer {
    serde_json::to_value(value).map_err(|error| (ErrorCode::InternalError, error.to_string()))
}
