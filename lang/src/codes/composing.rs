//! Codes of composing.

use super::Code;

/// E03.
pub(super) const CODES: &[Code] = &[
    Code {
        code: "E0301",
        title: "prototypes extend each other",
        explanation: "What extends itself, directly or by way of others, has no beginning.",
        example: "template A extends=B { memory \"64MiB\"; }\ntemplate B extends=A { image \"std:tiny\"; }\npool p {\n    domain web extends=A\n}\n",
        cure: "template A extends=B { memory \"64MiB\"; }\ntemplate B extends=domain { image \"std:tiny\"; }\npool p {\n    domain web extends=A\n}\n",
        library: "",
    },
    Code {
        code: "E0302",
        title: "a component contains itself without end",
        explanation: "A prototype creates a component that extends the prototype again. The shape of a pool never depends on values, so no `if` can end it.",
        example: "template Tree extends=group {\n    group branch extends=Tree\n}\npool p {\n    group oak extends=Tree\n}\n",
        cure: "template Leaf extends=group {\n}\ntemplate Tree extends=group {\n    group branch extends=Leaf\n}\npool p {\n    group oak extends=Tree\n}\n",
        library: "",
    },
    Code {
        code: "E0303",
        title: "two values of equal right",
        explanation: "Between bodies the nearer one wins; between prototypes side by side, and within one body, nobody does. There the values must be equal, or a nearer body must decide.",
        example: "template Small extends=domain { memory \"64MiB\"; }\ntemplate Large extends=domain { memory \"8GiB\"; }\npool p {\n    domain web {\n        extends Small Large\n        image \"std:tiny\"\n    }\n}\n",
        cure: "template Small extends=domain { memory \"64MiB\"; }\ntemplate Large extends=domain { memory \"8GiB\"; }\npool p {\n    domain web {\n        extends Small Large\n        image \"std:tiny\"\n        memory \"1GiB\"\n    }\n}\n",
        library: "",
    },
    Code {
        code: "E0304",
        title: "a final value is written again",
        explanation: "`(final)` before an attribute says that nothing nearer may say otherwise.",
        example: "template Safe extends=domain {\n    image \"std:tiny\"\n    (final)burst #false\n}\npool p {\n    domain web extends=Safe memory=\"64MiB\" burst=#true\n}\n",
        cure: "template Safe extends=domain {\n    image \"std:tiny\"\n    (final)burst #false\n}\npool p {\n    domain web extends=Safe memory=\"64MiB\"\n}\n",
        library: "",
    },
    Code {
        code: "E0305",
        title: "two prototypes disagree on a kind",
        explanation: "Two prototypes may both create a component of the same name, if the word is the same.",
        example: "template A extends=group { domain x { image \"std:tiny\"; memory \"64MiB\"; }; }\ntemplate B extends=group { group x; }\npool p {\n    group g {\n        extends A B\n    }\n}\n",
        cure: "template A extends=group { domain x { image \"std:tiny\"; memory \"64MiB\"; }; }\ntemplate B extends=group { group y; }\npool p {\n    group g {\n        extends A B\n    }\n}\n",
        library: "",
    },
    Code {
        code: "E0306",
        title: "a prototype of another kind",
        explanation: "What a component extends must be of its kind, or of a kind that its kind extends. A template says which kind it is for.",
        example: "template Cluster extends=group { domain head { image \"std:tiny\"; memory \"64MiB\"; }; }\npool p {\n    domain web extends=Cluster\n}\n",
        cure: "template Cluster extends=group { domain head { image \"std:tiny\"; memory \"64MiB\"; }; }\npool p {\n    group web extends=Cluster\n}\n",
        library: "",
    },
];
