//! A component of the library as a whole cluster on two hosts: workers wait until their head is ready, and find it.

use crate::lab::Lab;

/// `examples/cluster.kdl`, shrunk to what two hosts of the lab can hold: a cluster on each.
const CLUSTERS: &str = r#"import "./lib/cluster.kdl" as=vc

let sites {
    lab-h1 workers=1
    lab-h2 workers=1
}

pool physics {
    budget 20 for="1h"
    group edge extends=vc.VirtualCluster each=sites {
        workers ($)each.workers
        image "std:tiny"
        head-memory "1GiB"
        head.memory "128MiB"
        head.ready.tcp 22
        worker.memory "128MiB"
        place { require "host.name == each.key"; }
    }
}
"#;

#[test]
#[ignore = "needs the lab: `make test`"]
fn workers_wait_for_their_head_and_are_told_where_it_is() {
    let lab = Lab::prepared(2, "fast");
    let before = [lab.traces(1), lab.traces(2)];
    std::fs::create_dir(lab.path().join("lib")).expect("a new folder");
    lab.write("lib/cluster.kdl", include_str!("../../examples/lib/cluster.kdl"));
    lab.write("cluster.kdl", CLUSTERS);
    lab.tycoon(&["up", "cluster.kdl"]).ok();
    let domains = lab.is_up("physics", 4);
    for site in ["lab-h1", "lab-h2"] {
        let of = |path: String| domains.iter().find(|domain| domain.path == path).expect("the domain is there");
        let (head, worker) = (of(format!("edge.{site}.head")), of(format!("edge.{site}.worker.0")));
        assert_eq!((&*head.host, &*worker.host), (site, site));
        let told = lab.inside(&format!("physics/{}", worker.path), "cat /etc/cluster/head").ok();
        assert_eq!(told.stdout.trim(), head.address, "{site}");
    }
    lab.tycoon(&["up", "cluster.kdl"]).ok().says(&["nothing to do"]);
    lab.tycoon(&["down", "physics"]).ok();
    assert_eq!([lab.traces(1), lab.traces(2)], before);
    lab.settled_balance();
}
