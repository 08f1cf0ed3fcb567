//! Planned faults strike before or after the deed, and say the same.

use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::memory::{Fault, FaultPlan, Faulty, Operation};

use super::scene::{at, config, define, host, spec};

#[test]
fn a_fault_before_does_nothing_and_one_after_does_all_and_both_report_the_same() {
    for (fault, runs) in [(Fault::Before, false), (Fault::After, true)] {
        let host = Faulty::new(host(config()), FaultPlan::seeded(1).at(Operation::Start, 1, fault));
        let name = define(&host, &spec("web.0"), at(0));
        let error = host.start(&name, at(1)).unwrap_err();
        let reason = "a fault was planned for call 1 of it".to_owned();
        assert_eq!(error, HypervisorError::Failed { operation: "starting the domain".into(), reason });
        let is_active = host.inner().domain(&name, at(1)).unwrap().unwrap().state.is_active();
        assert_eq!(is_active, runs, "{fault:?}");
        assert_eq!(host.start(&name, at(2)), Ok(!runs), "trying again completes it");
    }
}

#[test]
fn every_call_of_a_run_can_be_struck_in_turn_and_trying_again_ends_in_the_same_host() {
    let bring_up = |host: &dyn Hypervisor| -> Result<(), HypervisorError> {
        let spec = spec("web.0");
        let ownership = super::scene::ownership(&spec);
        host.ensure_image(&spec.image)?;
        host.ensure_volumes(&spec, &ownership)?;
        host.define(&spec, &ownership, at(0))?;
        host.start(&ownership.hypervisor_name(), at(0))?;
        Ok(())
    };
    let expected = host(config());
    bring_up(&expected).unwrap();
    for fault in [Fault::Before, Fault::After] {
        for call in 1..=4 {
            let host = Faulty::new(host(config()), FaultPlan::seeded(0).at_call(call, fault));
            assert!(bring_up(&host).is_err(), "call {call} was not struck");
            assert_eq!(host.calls().len() as u64, call);
            bring_up(&host).unwrap();
            assert_eq!(host.inner().domains(at(9)), expected.domains(at(9)), "{fault:?} at call {call}");
        }
    }
}
