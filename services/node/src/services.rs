//! The services of Berth: the one list that everything about services is made from.

use chassis::Service;

/// All services, in the order in which they start. The door opens last: what comes in finds everybody there.
pub static SERVICES: [&Service; 5] =
    [&storage::SERVICE, &scheduler::SERVICE, &host_driver::SERVICE, &archive::SERVICE, &gateway::SERVICE];

/// The service with this name or program; the error names those there are.
pub fn named(text: &str) -> Result<&'static Service, String> {
    let found = SERVICES.into_iter().find(|service| service.name == text || service.program == text);
    found.ok_or_else(|| {
        let known: Vec<&str> = SERVICES.iter().map(|service| service.program).collect();
        format!("expected one of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::Place;
    use serde_json::json;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_service_has_a_name_and_a_program_of_its_own() {
        let names: BTreeSet<&str> = SERVICES.iter().map(|service| service.name).collect();
        let programs: BTreeSet<&str> = SERVICES.iter().map(|service| service.program).collect();
        assert_eq!((names.len(), programs.len()), (SERVICES.len(), SERVICES.len()));
        for service in SERVICES {
            assert_eq!(service.name, service.program.replace('-', "_"));
        }
    }

    #[test]
    fn every_service_that_says_or_obeys_something_is_in_the_list() {
        let said: BTreeSet<&str> = contracts::CATALOGUE.iter().map(|entry| entry.service).collect();
        let known: BTreeSet<&str> = SERVICES.iter().map(|service| service.name).chain(["bus"]).collect();
        assert_eq!(said.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new());
        for told in SERVICES.iter().flat_map(|service| service.tells) {
            assert!(known.contains(told), "{told} is told something and is no service");
        }
    }

    #[test]
    fn what_follows_from_a_place_is_what_a_service_can_read() {
        for service in SERVICES {
            let place = Place::in_folder(Path::new("/data"), service);
            (service.check)(&service.settings_at(&place, json!({}))).expect(service.program);
            let (defaults, place) = ((service.defaults)(), (service.settings)(&place));
            let known: BTreeSet<String> = defaults.as_object().expect("a table").keys().cloned().collect();
            let given: BTreeSet<String> = place.as_object().expect("a table").keys().cloned().collect();
            assert!(given.is_subset(&known), "{}: {given:?} of {known:?}", service.program);
        }
    }

    #[test]
    fn services_are_found_by_either_name() {
        assert_eq!(named("host-driver").expect("found").name, named("host_driver").expect("found").name);
        assert!(named("sheduler").expect_err("refused").contains("storage, scheduler, host-driver"));
    }
}
