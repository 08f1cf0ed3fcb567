//! What the driver does to domains, beyond the rules of every driver.

use tycoon_market::{Quantity, ResourceKind};
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::spec::Ownership;
use tycoon_xen::status::DomainState;

use super::scene::{MIB, NOW, Scene, open, ownership, spec};

#[test]
fn disks_are_attached_while_a_domain_runs_and_given_back_when_it_ends() {
    let scene = Scene::new();
    let name = scene.define(&spec("web.0"));
    assert!(!scene.is_attached(&name));
    scene.host.start(&name, NOW).unwrap();
    assert!(scene.is_attached(&name));
    scene.host.stop(&name, 0, NOW).unwrap();
    assert!(!scene.is_attached(&name));
    scene.host.start(&name, NOW).unwrap();
    // A guest of the test driver is gone as soon as it is asked; somebody has to look.
    scene.host.stop(&name, 60_000, NOW).unwrap();
    assert_eq!(scene.host.domain(&name, NOW).unwrap().unwrap().state, DomainState::Stopped);
    assert!(!scene.is_attached(&name));
}

#[test]
fn the_host_has_what_foreign_domains_and_its_owner_leave() {
    let facts = Scene::new().host.facts().unwrap();
    assert!(facts.is_simulated, "libvirt's own host is no real one");
    let has = |kind| facts.capacity.iter().find(|(of, _)| *of == kind).map(|(_, quantity)| *quantity);
    assert_eq!(has(ResourceKind::Memory), Some(Quantity::from_bytes((4096 - 256 - 64) * MIB)));
    assert_eq!(has(ResourceKind::Cpu), Some(Quantity::from_cpus(4)));
}

#[test]
fn a_running_domain_cannot_grow_beyond_what_it_was_started_with() {
    let scene = Scene::new();
    let mut spec = spec("web.0");
    let name = scene.define(&spec);
    scene.host.start(&name, NOW).unwrap();
    let refusal = scene.host.set_memory(&name, 256 * MIB, NOW).unwrap_err();
    let HypervisorError::Refused { reason, .. } = &refusal else { panic!("{refusal}") };
    assert!(reason.contains("128 MiB") && reason.contains("stopped and started"), "{reason}");
    // A definition takes it at its next start.
    spec.memory_bytes = 256 * MIB;
    assert!(scene.host.define(&spec, &ownership(&spec), NOW).unwrap());
    let memory = || scene.host.domain(&name, NOW).unwrap().unwrap().memory_bytes;
    assert_eq!(memory(), 128 * MIB);
    scene.host.stop(&name, 0, NOW).unwrap();
    assert_eq!(memory(), 256 * MIB);
    scene.host.start(&name, NOW).unwrap();
    assert_eq!(memory(), 256 * MIB);
}

#[test]
fn what_can_be_given_more_grows_while_it_runs_and_starts_with_its_own_again() {
    let scene = Scene::new();
    let mut spec = spec("web.0");
    spec.rules.memory_max_bytes = Some(256 * MIB);
    let name = scene.define(&spec);
    let status = || scene.host.domain(&name, NOW).unwrap().unwrap();
    scene.host.start(&name, NOW).unwrap();
    assert_eq!((status().memory_bytes, status().memory_max_bytes), (128 * MIB, Some(256 * MIB)));
    scene.host.set_memory(&name, 192 * MIB, NOW).unwrap();
    assert_eq!(status().memory_bytes, 192 * MIB);
    // Another definition leaves it what it has, as far as that is described.
    spec.hostname = "other".into();
    scene.host.define(&spec, &ownership(&spec), NOW).unwrap();
    assert_eq!(status().memory_bytes, 192 * MIB);
    spec.rules.memory_max_bytes = Some(160 * MIB);
    scene.host.define(&spec, &ownership(&spec), NOW).unwrap();
    assert_eq!(status().memory_bytes, 160 * MIB);
    scene.host.stop(&name, 0, NOW).unwrap();
    scene.host.start(&name, NOW).unwrap();
    assert_eq!((status().memory_bytes, status().memory_max_bytes), (128 * MIB, Some(160 * MIB)));
}

#[test]
fn weight_and_cap_last_over_definitions_and_starts() {
    let scene = Scene::new();
    let mut spec = spec("web.0");
    let name = scene.define(&spec);
    scene.host.set_cpu(&name, 700, 30, NOW).unwrap();
    scene.host.start(&name, NOW).unwrap();
    spec.hostname = "other".into();
    scene.host.define(&spec, &ownership(&spec), NOW).unwrap();
    scene.host.stop(&name, 0, NOW).unwrap();
    scene.host.start(&name, NOW).unwrap();
    let status = scene.host.domain(&name, NOW).unwrap().unwrap();
    assert_eq!((status.weight, status.cap_percent), (700, 30));
}

#[test]
fn a_name_that_somebody_elses_definition_has_is_refused() {
    let scene = Scene::new();
    let taken = HypervisorError::NameTaken("db".into());
    assert_eq!(scene.host.start("db", NOW), Err(taken.clone()));
    assert_eq!(scene.host.remove("db", NOW), Err(taken));
    assert_eq!(scene.host.domain("db", NOW).unwrap().unwrap().state, DomainState::Running);
}

#[test]
fn texts_of_a_spec_cannot_change_the_definition_around_them() {
    let scene = Scene::new();
    let mut spec = spec("web.0");
    spec.boot.kernel_args = vec!["</cmdline><kernel>/etc/passwd</kernel>".into(), "a=\"b'&".into()];
    spec.hostname = "]]></tycoon:spec><evil/>".into();
    let name = scene.define(&spec);
    scene.host.start(&name, NOW).unwrap();
    assert_eq!(scene.host.domain(&name, NOW).unwrap().unwrap().spec, Some(spec.clone()));
    // A running domain of the test driver is given ever more CPU time.
    scene.host.stop(&name, 0, NOW).unwrap();
    spec.boot.kernel_args = vec!["a\u{1}b".into()];
    let before = scene.host.domain(&name, NOW).unwrap();
    let refusal = scene.host.define(&spec, &ownership(&spec), NOW).unwrap_err();
    assert!(matches!(refusal, HypervisorError::Refused { .. }), "{refusal}");
    assert_eq!(scene.host.domain(&name, NOW).unwrap(), before);
}

#[test]
fn names_that_no_domain_can_have_are_names_of_none() {
    let scene = Scene::new();
    for name in ["", "a\0b", "no such domain", &"x".repeat(100_000)] {
        assert_eq!(scene.host.start(name, NOW), Err(HypervisorError::NoDomain(name.into())));
        assert_eq!(scene.host.set_cpu(name, 1, 0, NOW), Err(HypervisorError::NoDomain(name.into())));
    }
}

#[test]
fn volumes_without_a_definition_are_a_domain_that_can_be_removed() {
    let scene = Scene::new();
    let spec = spec("web.0");
    let owner: Ownership = ownership(&spec);
    scene.host.ensure_image(&spec.image).unwrap();
    scene.host.ensure_volumes(&spec, &owner).unwrap();
    let name = owner.hypervisor_name();
    let status = scene.host.domain(&name, NOW).unwrap().unwrap();
    assert_eq!((status.state, status.vcpus, status.spec), (DomainState::Stopped, 0, None));
    assert_eq!(scene.host.domains(NOW).unwrap().len(), 2, "and the foreign one");
    assert_eq!(scene.host.stop(&name, 0, NOW), Ok(false));
    assert_eq!(scene.host.start(&name, NOW), Err(HypervisorError::NoDomain(name.clone())));
    assert_eq!(scene.host.remove(&name, NOW), Ok(true));
    assert_eq!(scene.host.domain(&name, NOW), Ok(None));
}

#[test]
fn a_hypervisor_that_is_not_there_is_said_with_what_to_do() {
    let scene = Scene::new();
    for (uri, says) in [("test:///no/such/file.xml", "file.xml"), ("qemu+unix:///system?socket=/none", "/none")] {
        let error = open(uri, scene.folder.path(), &scene.storage).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("systemctl status libvirtd"), "{error}");
    }
}
