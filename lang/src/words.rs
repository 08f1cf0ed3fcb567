//! The words of the language itself: what forms a line has, and what may stand where a component is created.

use serde::Serialize;

/// A word that the language keeps for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// What is written behind it, or around it.
    pub form: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// What goes with it.
    pub parts: &'static [(&'static str, &'static str)],
    /// A whole description that uses it.
    pub example: &'static str,
}

/// The word of this name.
pub fn find(name: &str) -> Option<&'static Word> {
    WORDS.iter().find(|word| word.word == name)
}

/// All words, in the order in which the manual introduces them.
pub const WORDS: &[Word] = &[
    Word {
        word: "import",
        form: "import \"./file.kdl\" as=name",
        doc: "opens a namespace for `extends` and expressions",
        parts: &[("as", "the name of the namespace"), ("sha256", "the contents it must have")],
        example: "import \"./lib.kdl\" as=lib\npool p {\n    domain web extends=lib.Web\n}\n",
    },
    Word {
        word: "param",
        form: "param name type=T default=…",
        doc: "an attribute of a file or template that others may set; without default it must be given",
        parts: &[
            ("type", "one of the types, or a kind; without it text, or a word of its `one-of`"),
            ("default", "what it is where nobody says otherwise"),
            ("min, max", "its bounds"),
            ("one-of", "its choices, in its block: `{ one-of small large; }`"),
            ("list", "`#true`: several values"),
            ("optional", "`#true`: nothing need be written"),
            ("context", "`#true`: taken from the nearest component around that has its name"),
            ("doc", "what it is"),
        ],
        example: "param workers type=integer default=2 min=1 max=200 doc=\"how many\"\npool p {\n    domain wn count=($)workers image=\"std:tiny\" memory=\"64MiB\"\n}\n",
    },
    Word {
        word: "let",
        form: "let name value",
        doc: "a named value, or a table with its rows in a block; seen by the text around it, not set from outside",
        parts: &[("type", "its type")],
        example: "let size type=bytes \"64MiB\"\npool p {\n    domain web image=\"std:tiny\" memory=($)\"2 * size\"\n}\n",
    },
    Word {
        word: "template",
        form: "template Name extends=kind { … }",
        doc: "a prototype, never deployed by itself",
        parts: &[("extends", "a kind, or another template")],
        example: "template Web extends=domain {\n    image \"std:tiny\"\n    memory \"64MiB\"\n}\npool p {\n    domain web extends=Web\n}\n",
    },
    Word {
        word: "test",
        form: "test \"what it shows\" { given { … }; expect \"…\"; }",
        doc: "run by `tycoon test`",
        parts: &[
            ("given", "written over the file for this test"),
            ("expect", "must hold"),
            ("expect-error", "codes that must come"),
        ],
        example: "pool p {\n    domain web image=\"std:tiny\" memory=\"64MiB\"\n}\ntest \"small enough\" {\n    expect \"p.web.memory < 1GiB\"\n}\n",
    },
    Word {
        word: "given",
        form: "given { … }",
        doc: "written over the file for one test",
        parts: &[],
        example: "pool p {\n    domain web image=\"std:tiny\" memory=\"64MiB\"\n}\ntest \"it can grow\" {\n    given { p.web.memory \"1GiB\"; }\n    expect \"p.web.memory == 1GiB\"\n}\n",
    },
    Word {
        word: "expect",
        form: "expect \"condition\"",
        doc: "must hold in a test",
        parts: &[],
        example: "pool p {\n    domain web image=\"std:tiny\" memory=\"64MiB\"\n}\ntest \"small enough\" {\n    expect \"p.web.memory < 1GiB\"\n}\n",
    },
    Word {
        word: "expect-error",
        form: "expect-error CODE",
        doc: "must come in a test; any other error fails it",
        parts: &[],
        example: "param workers type=integer default=1 max=4\npool p {\n    domain wn count=($)workers image=\"std:tiny\" memory=\"64MiB\"\n}\ntest \"five are too many\" {\n    given { workers 5; }\n    expect-error E0403\n}\n",
    },
    Word {
        word: "assert",
        form: "assert \"condition\" else=\"message\"",
        doc: "must hold, now or while the pool runs",
        parts: &[("else", "what is said where it does not")],
        example: "pool p {\n    domain web count=2 image=\"std:tiny\" memory=\"64MiB\"\n    assert \"sum(web.*.memory) <= 1GiB\" else=\"the quota is 1 GiB\"\n}\n",
    },
    Word {
        word: "output",
        form: "output name value",
        doc: "a result of a pool, component or template, shown by `tycoon status`",
        parts: &[],
        example: "pool p {\n    domain web image=\"std:tiny\" memory=\"64MiB\"\n    output address ($)web.eth0.ip\n}\n",
    },
    Word {
        word: "extends",
        form: "extends=A, or a line extends A B",
        doc: "takes over everything that these prototypes say: kinds, templates, components created in the text around",
        parts: &[],
        example: "pool p {\n    domain web image=\"std:tiny\" memory=\"64MiB\"\n    domain db extends=web {\n        memory \"128MiB\"\n    }\n}\n",
    },
    Word {
        word: "count",
        form: "count=3",
        doc: "how many there are, numbered from 0: `web.0`, `web.1`, …; `index` is the number of each",
        parts: &[],
        example: "pool p {\n    domain web count=3 image=\"std:tiny\" memory=\"64MiB\"\n    web.0.memory \"128MiB\"\n}\n",
    },
    Word {
        word: "each",
        form: "each=rows",
        doc: "one for every row of a table, or value of a list; `each` is its row and `each.key` its key",
        parts: &[],
        example: "let sites {\n    cern memory=\"64MiB\"\n    clemson memory=\"128MiB\"\n}\npool p {\n    domain edge each=sites image=\"std:tiny\" memory=($)each.memory\n}\n",
    },
    Word {
        word: "need",
        form: "need=2",
        doc: "how many of several must live",
        parts: &[],
        example: "pool p {\n    domain web count=3 need=2 image=\"std:tiny\" memory=\"64MiB\"\n}\n",
    },
    Word {
        word: "if",
        form: "if=#false",
        doc: "leaves a component out where it is false",
        parts: &[],
        example: "param with-database type=boolean default=#true\npool p {\n    domain db if=($)with-database image=\"std:tiny\" memory=\"64MiB\"\n}\n",
    },
    Word {
        word: "one-of",
        form: "one-of a b c",
        doc: "the choices of a param",
        parts: &[],
        example: "param size default=small { one-of small large; }\npool p {\n    domain web image=\"std:tiny\" memory=($)\"if size == 'small' then 64MiB else 1GiB\"\n}\n",
    },
    Word {
        word: "(default)",
        form: "(default)attribute value",
        doc: "counts only where nothing else is written",
        parts: &[],
        example: "template Web extends=domain {\n    image \"std:tiny\"\n    (default)memory \"64MiB\"\n}\npool p {\n    domain web extends=Web memory=\"128MiB\"\n}\n",
    },
    Word {
        word: "(final)",
        form: "(final)attribute value",
        doc: "nothing nearer may say otherwise",
        parts: &[],
        example: "template Web extends=domain {\n    (final)image \"std:tiny\"\n    memory \"64MiB\"\n}\npool p {\n    domain web extends=Web\n}\n",
    },
    Word {
        word: "(replace)",
        form: "(replace)name …",
        doc: "empties what prototypes say of an attribute, a record, a component or all items of a word",
        parts: &[],
        example: "template Web extends=domain {\n    image \"std:tiny\"\n    memory \"64MiB\"\n    root size=\"10GiB\" copy-on-write=#true\n}\npool p {\n    domain web extends=Web {\n        (replace)root size=\"2GiB\"\n    }\n}\n",
    },
    Word {
        word: "($)",
        form: "($)name, or ($)\"expression\"",
        doc: "computes; plain text never does",
        parts: &[],
        example: "let base \"64MiB\"\npool p {\n    domain web image=\"std:tiny\" memory=($)base\n    domain db image=\"std:tiny\" memory=($)\"2 * web.memory\"\n}\n",
    },
    Word {
        word: "(f)",
        form: "(f)\"text with ${expression}\"",
        doc: "fills in; `$${` stands for `${`",
        parts: &[],
        example: "pool p {\n    domain web count=2 {\n        image \"std:tiny\"\n        memory \"64MiB\"\n        hostname (f)\"node-${index}.example.org\"\n    }\n}\n",
    },
    Word {
        word: "this",
        form: "this.attribute",
        doc: "in expressions: the component at hand",
        parts: &[("this.name", "its name, as in `web-0`"), ("this.path", "its path"), ("this.kind", "its kind")],
        example: "pool p {\n    domain web {\n        image \"std:tiny\"\n        memory \"64MiB\"\n        assert \"this.memory < 1GiB\"\n    }\n}\n",
    },
    Word {
        word: "parent",
        form: "parent.attribute",
        doc: "in expressions: the component around the one at hand",
        parts: &[],
        example: "pool p {\n    domain web {\n        image \"std:tiny\"\n        memory \"64MiB\"\n        volume data size=($)parent.memory\n    }\n}\n",
    },
    Word {
        word: "index",
        form: "index",
        doc: "in expressions: the number of the surrounding instance of a `count`, from 0",
        parts: &[],
        example: "pool p {\n    domain web count=3 {\n        image \"std:tiny\"\n        memory \"64MiB\"\n        eth0 ip=($)\"nth-address(192.0.2.10, index)\"\n    }\n}\n",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::source::MemoryLoader;
    use crate::testing::run_tests;
    use crate::{check, syntax};

    #[test]
    fn every_example_is_sound_uses_its_word_and_is_formatted() {
        let library = "template Web extends=domain {\n    image \"std:tiny\"\n    memory \"64MiB\"\n}\n";
        for word in WORDS {
            let loader = MemoryLoader::new().with("pool.kdl", word.example).with("lib.kdl", library);
            let options = Options::default();
            let checked = check("pool.kdl", &loader, &options);
            let checked = checked.unwrap_or_else(|failure| panic!("{}:\n{}", word.word, failure.to_text()));
            assert!(checked.warnings.is_empty(), "{}: {:?}", word.word, checked.warnings);
            for test in run_tests("pool.kdl", &loader, &options).unwrap() {
                assert!(test.passed(), "{}", word.word);
            }
            assert!(word.example.contains(word.word), "{}", word.word);
            let formatted = syntax::format::format("pool.kdl", word.example, &options).unwrap();
            assert_eq!(formatted, word.example, "{}", word.word);
        }
    }
}
