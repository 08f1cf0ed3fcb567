//! Images that lie on the user's own machine.

use std::process::Command;

use crate::lab::Lab;

/// An image is brought to the host once, whole, and domains come up from it.
#[test]
#[ignore = "needs the lab: `make test`"]
fn an_image_of_the_user_s_own_is_brought_to_the_host() {
    let lab = Lab::prepared(1, "fast");
    // The host's own std:tiny will do as somebody's image.
    for file in ["kernel", "ramdisk", "disk.raw"] {
        let name = lab.path().join(file);
        let script = format!("base64 /var/lib/tycoon/std-tiny/{file}");
        let decoded = Command::new("base64").arg("-di").arg(written(&lab, file, &lab.on(1, &script))).output();
        std::fs::write(name, decoded.expect("base64 starts").stdout).expect("the file can be written");
    }
    let hosts = std::fs::read_to_string(lab.path().join("hosts.kdl")).expect("the hosts");
    let source = "    image-source web { name \"lab:web\"; disk \"disk.raw\"; kernel \"kernel\"; ramdisk \"ramdisk\"; \
                  kernel-args \"console=hvc0\" \"quiet\"; }\n}\n";
    lab.write("hosts.kdl", &format!("{}{source}", hosts.trim_end().trim_end_matches('}')));
    let pool = include_str!("../../examples/hello.kdl").replace("std:tiny", "lab:web").replace("count=3", "count=1");
    lab.write("own.kdl", &pool);
    lab.tycoon(&["up", "own.kdl"]).ok().says(&["bringing the image lab:web to lab-h1: 100 %"]);
    lab.is_up("hello", 1);
    lab.tycoon(&["down", "hello"]).ok();
    let again = lab.tycoon(&["up", "own.kdl"]).ok();
    assert!(!again.stderr.contains("bringing the image"), "it is there already: {again}");
    lab.tycoon(&["down", "hello"]).ok();
    lab.settled_balance();
}

fn written(lab: &Lab, name: &str, text: &str) -> std::path::PathBuf {
    let path = lab.path().join(format!("{name}.base64"));
    std::fs::write(&path, text).expect("the file can be written");
    path
}
