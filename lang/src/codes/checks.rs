//! Codes of checks, limits and warnings.

use super::Code;

/// E05, E06 and W.
pub(super) const CODES: &[Code] = &[
    Code {
        code: "E0501",
        title: "an assertion does not hold",
        explanation: "The message gives the values that the condition read, and where each was written.",
        example: "pool p {\n    domain web count=3 { image \"std:tiny\"; memory \"1GiB\"; }\n    assert \"sum(web.*.memory) <= 2GiB\" else=\"this group's quota is 2 GiB\"\n}\n",
        cure: "pool p {\n    domain web count=2 { image \"std:tiny\"; memory \"1GiB\"; }\n    assert \"sum(web.*.memory) <= 2GiB\" else=\"this group's quota is 2 GiB\"\n}\n",
        library: "",
    },
    Code {
        code: "E0502",
        title: "an expectation of a test does not hold",
        explanation: "`tycoon test` resolves the file with what `given` says written over it, and judges every `expect`.",
        example: "pool p {\n    domain web count=2 { image \"std:tiny\"; memory \"1GiB\"; }\n}\ntest \"the second one is larger\" {\n    expect \"p.web.1.memory > p.web.0.memory\"\n}\n",
        cure: "pool p {\n    domain web count=2 { image \"std:tiny\"; memory \"1GiB\"; }\n    web.1.memory \"2GiB\"\n}\ntest \"the second one is larger\" {\n    expect \"p.web.1.memory > p.web.0.memory\"\n}\n",
        library: "",
    },
    Code {
        code: "E0503",
        title: "more are needed than there are",
        explanation: "`need=` says how many instances must live; it lies between 0 and `count`.",
        example: "pool p {\n    domain web count=2 need=3 { image \"std:tiny\"; memory \"64MiB\"; }\n}\n",
        cure: "pool p {\n    domain web count=3 need=2 { image \"std:tiny\"; memory \"64MiB\"; }\n}\n",
        library: "",
    },
    Code {
        code: "E0504",
        title: "no pool, or several",
        explanation: "`tycoon up` deploys one pool. Where a file describes several, `--pool` chooses; a library without one is checked with `tycoon check`.",
        example: "template Worker extends=domain { memory \"64MiB\"; }\n",
        cure: "template Worker extends=domain { memory \"64MiB\"; }\npool p {\n    domain wn extends=Worker image=\"std:tiny\"\n}\n",
        library: "",
    },
    Code {
        code: "E0505",
        title: "an error that a test expects did not come",
        explanation: "`expect-error` names the code of an error that the description must have once `given` is written over it.",
        example: "param workers type=integer default=1 max=4\npool p {\n    domain web count=($)workers { image \"std:tiny\"; memory \"1GiB\"; }\n}\ntest \"five are too many\" {\n    given { workers 4; }\n    expect-error E0403\n}\n",
        cure: "param workers type=integer default=1 max=4\npool p {\n    domain web count=($)workers { image \"std:tiny\"; memory \"1GiB\"; }\n}\ntest \"five are too many\" {\n    given { workers 5; }\n    expect-error E0403\n}\n",
        library: "",
    },
    Code {
        code: "E0506",
        title: "an unknown param on the command line",
        explanation: "`--param name=value` sets a param that the main file declares at its top.",
        example: "// tycoon up pool.kdl --param worker=3\nparam workers type=integer default=1\npool p {\n    domain web count=($)workers { image \"std:tiny\"; memory \"64MiB\"; }\n}\n",
        cure: "// tycoon up pool.kdl --param workers=3\nparam workers type=integer default=1\npool p {\n    domain web count=($)workers { image \"std:tiny\"; memory \"64MiB\"; }\n}\n",
        library: "",
    },
    Code {
        code: "E0601",
        title: "too many components",
        explanation: "A pool may have 1,000,000 components, records and items.",
        example: "pool p {\n    domain web count=20000000 { image \"std:tiny\"; memory \"64MiB\"; }\n}\n",
        cure: "pool p {\n    domain web count=2 { image \"std:tiny\"; memory \"64MiB\"; }\n}\n",
        library: "",
    },
    Code {
        code: "E0602",
        title: "too much to evaluate",
        explanation: "Evaluation is bounded, so that no description can keep the program busy for ever.",
        example: "let numbers ($)\"range(900000)\"\nlet total ($)\"sum(map(range(900000), x => sum(map(numbers, y => x * y))))\"\npool p {\n    domain web count=($)total { image \"std:tiny\"; memory \"64MiB\"; }\n}\n",
        cure: "let total 3\npool p {\n    domain web count=($)total { image \"std:tiny\"; memory \"64MiB\"; }\n}\n",
        library: "",
    },
    Code {
        code: "E0603",
        title: "too long a chain of values",
        explanation: "1,000 values may wait for each other, each needing the next.",
        example: "// And so on, a thousand times.\nlet f ($)e\nlet e ($)d\nlet d ($)c\nlet c ($)b\nlet b ($)a\nlet a ($)\"1 + 1\"\npool p {\n    domain web count=($)f { image \"std:tiny\"; memory \"64MiB\"; }\n}\n",
        cure: "let a 1\nlet f ($)a\npool p {\n    domain web count=($)f { image \"std:tiny\"; memory \"64MiB\"; }\n}\n",
        library: "",
    },
    Code {
        code: "W0001",
        title: "an import is not used",
        explanation: "Nothing of what the file imports is used.",
        example: "import \"./lib.kdl\" as=lib\npool p {\n}\n",
        cure: "import \"./lib.kdl\" as=lib\npool p {\n    domain web extends=lib.Web\n}\n",
        library: "template Web extends=domain {\n    image \"std:tiny\"\n    memory \"64MiB\"\n}\n",
    },
];
