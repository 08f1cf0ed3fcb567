//! What a record may hold, and who may sign it.

use tycoon_market::price_statistics::{PriceSummary, WindowSummary};
use tycoon_market::{Quantity, Rate, ResourceKind, UniqueKind};
use tycoon_sls::{HostRecord, PublishedUnique, RecordError, SignedRecord};

use super::scene::{changed, id, key, record, sign};

#[test]
fn a_signed_record_travels_as_readable_json_and_verifies() {
    let said = record(2, 0);
    let json = serde_json::to_string(&sign(&said, 2)).unwrap();
    assert!(json.contains(r#""name":"host2""#), "a person can read it: {json}");
    let back: SignedRecord = serde_json::from_str(&json).unwrap();
    assert_eq!(*back.verify().unwrap().record(), said);
}

#[test]
fn a_record_that_was_changed_does_not_verify() {
    let signed = sign(&record(2, 0), 2);
    for (from, to) in [("8000000", "9000000"), ("host2", "host3"), (r#""rack":"2""#, r#""rack":"1""#), ("[", "[ ")] {
        let changed = changed(&signed, from, to);
        assert_eq!(changed.verify(), Err(RecordError::BadSignature { host: id(2) }), "{from} → {to}");
    }
}

#[test]
fn only_the_host_s_own_key_signs() {
    assert_eq!(SignedRecord::sign(&record(2, 0), &key(3)), Err(RecordError::NotTheSigner { host: id(2) }));
    let mut stolen = record(2, 0);
    stolen.host = id(3);
    let refusal = SignedRecord::sign(&stolen, &key(2));
    assert_eq!(refusal, Err(RecordError::NotTheKeysHost { host: id(3), of_key: id(2) }));
    let (one, other) = (sign(&record(2, 0), 2), sign(&record(2, 1), 2));
    let signature = |signed: &SignedRecord| serde_json::to_value(signed).unwrap()["signature"].to_string();
    let mixed = changed(&one, &signature(&one), &signature(&other));
    assert_eq!(mixed.verify(), Err(RecordError::BadSignature { host: id(2) }), "a signature is for one record");
}

#[test]
fn every_field_has_its_bounds() {
    type Spoil = fn(&mut HostRecord);
    let cases: [(&str, Spoil); 22] = [
        ("addresses", |r| r.addresses.clear()),
        ("addresses", |r| r.addresses = vec!["http://a".into(); 9]),
        ("addresses", |r| r.addresses = vec!["ftp://a".into()]),
        ("addresses", |r| r.addresses = vec!["http://".into()]),
        ("addresses", |r| r.addresses = vec!["http:///etc".into()]),
        ("addresses", |r| r.addresses = vec!["http://bank.example.org@evil.example.org/".into()]),
        ("addresses", |r| r.addresses = vec!["http://a b".into()]),
        ("addresses", |r| r.addresses = vec![format!("http://{}", "a".repeat(250))]),
        ("labels", |r| r.labels.extend((0..65).map(|n| (n.to_string(), String::new())))),
        ("labels", |r| _ = r.labels.insert("x".repeat(64), String::new())),
        ("labels", |r| _ = r.labels.insert("x".into(), "y".repeat(256))),
        ("labels", |r| _ = r.labels.insert("x=".into(), "y".into())),
        ("images", |r| r.images = vec!["i".into(); 513]),
        ("images", |r| r.images = vec!["i".repeat(129)]),
        ("architecture", |r| r.architecture.clear()),
        ("hypervisor", |r| r.hypervisor = "\u{1b}[31mXen".into()),
        ("software_version", |r| r.software_version = "1".repeat(65)),
        ("ssh_host_key", |r| r.ssh_host_key = Some("a\nb".into())),
        ("prices", |r| {
            r.prices.entry(ResourceKind::Cpu).or_default().hour.history = vec![Rate::ZERO; 25];
        }),
        ("prices", |r| r.prices.entry(ResourceKind::Memory).or_default().week.bins = vec![1; 33]),
        ("unique", |r| {
            let published = PublishedUnique { count: 1, free: 2, base_price: Rate::ZERO, highest: Rate::ZERO };
            r.unique.insert(UniqueKind::TcpPort, published);
        }),
        ("offers", |r| {
            let offer = r.offers.get_mut(&ResourceKind::Cpu).unwrap();
            offer.available = Quantity::from_cpus(9);
        }),
    ];
    for (number, (field, spoil)) in cases.into_iter().enumerate() {
        let mut spoilt = record(2, 0);
        spoil(&mut spoilt);
        match SignedRecord::sign(&spoilt, &key(2)) {
            Err(RecordError::Field { field: found, .. }) => assert_eq!(found, field, "case {number}"),
            other => panic!("case {number}: {other:?}"),
        }
    }
}

#[test]
fn only_simulated_hosts_need_no_address() {
    let mut simulated = record(1, 0);
    simulated.addresses.clear();
    assert!(simulated.is_simulated && SignedRecord::sign(&simulated, &key(1)).is_ok());
}

#[test]
fn a_record_has_at_most_64_kib() {
    let mut large = record(2, 0);
    large.images = (0..512).map(|n| format!("{n:0>128}")).collect();
    assert!(matches!(SignedRecord::sign(&large, &key(2)), Err(RecordError::TooLarge { bytes }) if bytes > 64 << 10));
}

/// Prices of all resources, with histograms and histories as large as they get.
fn with_prices(mut record: HostRecord) -> HostRecord {
    let rate = Rate::from_picos_per_second(u64::MAX);
    let window = WindowSummary {
        filled_ppm: 1_000_000,
        mean: rate,
        deviation: rate,
        skewness_milli: i64::MAX,
        excess_kurtosis_milli: i64::MAX,
        top: rate,
        bins: vec![10_000; 32],
        history: vec![rate; 24],
    };
    let prices = PriceSummary { spot: rate, hour: window.clone(), day: window.clone(), week: window };
    record.prices = ResourceKind::ALL.into_iter().map(|kind| (kind, prices.clone())).collect();
    record
}

/// However much a host has to tell, its record fits: prices give way, what it sells stays.
#[test]
fn prices_make_no_record_too_large() {
    let whole = with_prices(record(2, 0));
    let json = SignedRecord::sign(&whole, &key(2)).unwrap().json().len();
    assert!(json < 20 << 10, "{json} bytes, of the largest numbers there are");
    assert_eq!(whole.clone().fitted(), whole, "what fits is left alone");

    let images = |count: usize, record: HostRecord| HostRecord {
        images: (0..count).map(|number| format!("{number:0>128}")).collect(),
        ..record
    };
    let stripped = images(400, whole.clone()).fitted();
    assert!(stripped.prices[&ResourceKind::Cpu].hour.bins.is_empty() && !stripped.prices.is_empty());
    assert!(SignedRecord::sign(&stripped, &key(2)).is_ok());
    let bare = images(488, whole.clone()).fitted();
    assert!(bare.prices.is_empty() && bare.offers == whole.offers);
    assert!(SignedRecord::sign(&bare, &key(2)).is_ok());
    let old = serde_json::to_value(record(2, 0)).unwrap();
    assert!(old.get("prices").is_none() && serde_json::from_value::<HostRecord>(old).is_ok(), "records without prices");
}

#[test]
fn fields_of_later_versions_are_passed_on_unharmed() {
    use tycoon_rpc::Signer as _;
    let mut value = serde_json::to_value(record(2, 0)).unwrap();
    value["colour"] = "green".into();
    let json = value.to_string();
    let signed_bytes = [b"tycoon host record v1\0".as_slice(), json.as_bytes()].concat();
    let signature = tycoon_market::Signature::from_bytes(key(2).sign(&signed_bytes));
    let travelling = format!(r#"{{"record":{json},"signature":"{signature}"}}"#);
    let signed: SignedRecord = serde_json::from_str(&travelling).unwrap();
    let again: SignedRecord = serde_json::from_str(&serde_json::to_string(&signed).unwrap()).unwrap();
    let verified = again.verify().unwrap();
    assert_eq!(*verified.record(), record(2, 0));
    assert!(verified.signed().json().contains("green"));
}
