//! `tycoon lsp`, asked as an editor asks: over standard input and output.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout};

use serde_json::{Value, json};

use crate::environment::{Environment, HELLO};

/// An editor that talks to the program.
struct Editor {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    folder: String,
    last_id: i64,
    /// What was published last for each document.
    published: BTreeMap<String, Vec<Value>>,
}

impl Editor {
    /// Starts the program and agrees on what both can do.
    fn start(environment: &Environment) -> Self {
        let mut command = environment.command(&["lsp"]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let folder = format!("file://{}", environment.path().display());
        let mut editor = Self { child, input, output, folder, last_id: 0, published: BTreeMap::new() };
        let capabilities = editor.ask("initialize", json!({ "capabilities": {} }))["capabilities"].clone();
        assert_eq!(capabilities["hoverProvider"], true);
        editor.tell("initialized", json!({}));
        editor
    }

    fn uri(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        let input = self.input.as_mut().expect("the program listens");
        write!(input, "Content-Length: {}\r\n\r\n{text}", text.len()).expect("the program reads");
        input.flush().expect("the program reads");
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).expect("a header") > 0, "the program has ended");
            match line.trim_end().split_once(": ") {
                Some((_, value)) => length = value.parse().expect("a length"),
                None => break,
            }
        }
        let mut content = vec![0; length];
        self.output.read_exact(&mut content).expect("a message");
        let message: Value = serde_json::from_slice(&content).expect("JSON");
        if message["method"] == "textDocument/publishDiagnostics" {
            let uri = message["params"]["uri"].as_str().expect("a document").to_owned();
            self.published.insert(uri, message["params"]["diagnostics"].as_array().expect("a list").clone());
        }
        message
    }

    /// Sends a notification.
    fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request; gives the whole answer.
    fn answer(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params }));
        loop {
            let message = self.receive();
            if message["id"] == self.last_id {
                return message;
            }
        }
    }

    /// Sends a request that must be answered; gives the result.
    #[track_caller]
    fn ask(&mut self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, params);
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].clone()
    }

    fn open(&mut self, name: &str, text: &str) {
        let document = json!({ "uri": self.uri(name), "languageId": "kdl", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
    }

    /// Changes the first occurrence of a piece of one line.
    fn change(&mut self, name: &str, range: Value, text: &str) {
        let change = json!({ "range": range, "text": text });
        let document = json!({ "uri": self.uri(name), "version": 2 });
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": [change] }));
    }

    /// Waits until these codes, and no others, are published for a document. A test that waits in vain is ended.
    fn wait_for(&mut self, name: &str, codes: &[&str]) {
        let uri = self.uri(name);
        let is_it = |found: &Vec<Value>| found.iter().map(|found| &found["code"]).eq(codes.iter());
        while !self.published.get(&uri).is_some_and(is_it) {
            self.receive();
        }
    }

    /// Asks about a place.
    fn at(&mut self, method: &str, name: &str, line: u32, character: u32) -> Value {
        let place =
            json!({ "textDocument": { "uri": self.uri(name) }, "position": { "line": line, "character": character } });
        self.ask(method, place)
    }

    /// Ends the conversation; gives the exit code.
    fn end(mut self) -> Option<i32> {
        self.ask("shutdown", Value::Null);
        self.tell("exit", Value::Null);
        self.child.wait().expect("the program ends").code()
    }
}

fn range(line: u32, start: u32, end: u32) -> Value {
    json!({ "start": { "line": line, "character": start }, "end": { "line": line, "character": end } })
}

const LIBRARY: &str = "template Web extends=domain {\n    image \"std:tiny\"\n    memory \"64MiB\"\n}\n";
const POOL: &str =
    "import \"./lib.kdl\" as=lib\npool p {\n    budget 1 for=\"1h\"\n    domain wéb extends=lib.Web\n}\n";

#[test]
fn diagnostics_follow_what_is_typed() {
    let environment = Environment::new();
    let mut editor = Editor::start(&environment);
    editor.open("hello.kdl", HELLO);
    editor.wait_for("hello.kdl", &[]);
    // `count=3` becomes `counts=3`.
    let line = HELLO.lines().position(|line| line.contains("count=3")).expect("the line") as u32;
    let column = HELLO.lines().nth(line as usize).and_then(|line| line.find("=3")).expect("the place") as u32;
    editor.change("hello.kdl", range(line, column, column), "s");
    editor.wait_for("hello.kdl", &["E0201"]);
    let uri = editor.uri("hello.kdl");
    let found = editor.published[&uri][0].clone();
    assert_eq!(found["range"]["start"]["line"], line);
    assert!(found["message"].as_str().expect("a message").contains("did you mean `count`?"), "{found}");
    let actions = editor.ask(
        "textDocument/codeAction",
        json!({ "textDocument": { "uri": uri }, "range": found["range"], "context": { "diagnostics": [] } }),
    );
    assert_eq!(actions[0]["title"], "replace `counts` by `count`");
    assert_eq!(actions[0]["edit"]["changes"][&uri][0]["newText"], "count");
    // Broken altogether, and mended.
    editor.change("hello.kdl", range(0, 0, 0), "} ");
    editor.wait_for("hello.kdl", &["E0105"]);
    let document = json!({ "uri": editor.uri("hello.kdl"), "version": 4 });
    editor.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": [{ "text": HELLO }] }));
    editor.wait_for("hello.kdl", &[]);
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn unsaved_texts_are_seen_by_what_imports_them() {
    let environment = Environment::new();
    environment.write("lib.kdl", "// not saved yet\n");
    let mut editor = Editor::start(&environment);
    let pool = POOL.replace('é', "e");
    editor.open("pool.kdl", &pool);
    editor.wait_for("pool.kdl", &["E0204"]);
    editor.open("lib.kdl", LIBRARY);
    editor.wait_for("pool.kdl", &[]);
    // An error in the library shows in the library, found from either.
    editor.change("lib.kdl", range(2, 4, 10), "memroy");
    editor.wait_for("lib.kdl", &["E0201"]);
    let uri = editor.uri("lib.kdl");
    editor.tell("textDocument/didClose", json!({ "textDocument": { "uri": uri } }));
    // Now what is on disk counts.
    editor.wait_for("pool.kdl", &["E0204"]);
    assert_eq!(editor.published[&uri], Vec::<Value>::new());
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn hover_definition_completion_and_format_count_in_utf_16() {
    let environment = Environment::new();
    environment.write("lib.kdl", LIBRARY);
    let mut editor = Editor::start(&environment);
    // Two UTF-16 units, four bytes, before what is asked for.
    let pool = POOL.replace("    domain wéb", "    /* 𝄞 */ domain web");
    editor.open("pool.kdl", &pool);
    editor.wait_for("pool.kdl", &[]);
    let hover = editor.at("textDocument/hover", "pool.kdl", 3, 14);
    assert!(hover["contents"]["value"].as_str().expect("words").contains("a Xen virtual machine"), "{hover}");
    assert_eq!(hover["range"], range(3, 13, 19));
    let definition = editor.at("textDocument/definition", "pool.kdl", 3, 38);
    assert_eq!(definition, json!({ "uri": editor.uri("lib.kdl"), "range": range(0, 9, 12) }));
    let definition = editor.at("textDocument/definition", "pool.kdl", 0, 12);
    assert_eq!(definition["uri"], editor.uri("lib.kdl"));
    editor.change("pool.kdl", range(3, 39, 39), " { keep-volumes al");
    let list = editor.at("textDocument/completion", "pool.kdl", 3, 57);
    assert_eq!(list[0]["label"], "always", "{list}");
    assert_eq!(list[0]["textEdit"]["range"], range(3, 55, 57));
    editor.change("pool.kdl", range(3, 39, 57), "   {   memory   \"96MiB\" }");
    let hover = editor.at("textDocument/hover", "pool.kdl", 3, 52);
    assert!(hover["contents"]["value"].as_str().expect("words").contains("`p.web.memory` = `96MiB`"), "{hover}");
    let options = json!({ "tabSize": 4, "insertSpaces": true });
    let uri = editor.uri("pool.kdl");
    let edits = editor.ask("textDocument/formatting", json!({ "textDocument": { "uri": uri }, "options": options }));
    let text = edits[0]["newText"].as_str().expect("a text");
    assert!(text.contains("/* 𝄞 */ domain web extends=lib.Web { memory \"96MiB\"; }"), "{text}");
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn what_is_no_question_is_refused_and_what_is_no_message_ends_it() {
    let environment = Environment::new();
    let mut editor = Editor::start(&environment);
    assert_eq!(editor.answer("textDocument/rename", json!({}))["error"]["code"], -32601);
    assert_eq!(editor.answer("textDocument/hover", json!({ "a": 1 }))["error"]["code"], -32602);
    editor.tell("textDocument/didOpen", json!({ "a": 1 }));
    let nowhere = editor.at("textDocument/hover", "never-opened.kdl", 0, 0);
    assert!(nowhere.is_null());
    let input = editor.input.as_mut().expect("the program listens");
    input.write_all(b"Content-Length: 999999999999\r\n\r\n").expect("the program reads");
    input.flush().expect("the program reads");
    assert_eq!(editor.child.wait().expect("the program ends").code(), Some(1));
    // An editor that goes away without a word.
    let mut editor = Editor::start(&environment);
    drop(editor.input.take());
    assert_eq!(editor.child.wait().expect("the program ends").code(), Some(1));
}
