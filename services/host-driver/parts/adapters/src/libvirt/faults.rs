//! What libvirt's errors mean to us.

use crate::fault::Fault;
use host_driver_domain::HostCause;
use virt::error::{Error, ErrorDomain, ErrorNumber};

/// The meaning of an error of an operation.
pub fn fault(error: &Error) -> Fault {
    let message = error.message().trim().to_owned();
    let of_transport = matches!(known(error.domain()), Some(ErrorDomain::Rpc | ErrorDomain::Remote));
    match known_number(error) {
        Some(ErrorNumber::NoDomain) => Fault::NotFound,
        Some(ErrorNumber::NoConnect | ErrorNumber::InvalidConn | ErrorNumber::Rpc) => {
            Fault::Unavailable(message)
        }
        Some(ErrorNumber::InternalError | ErrorNumber::SystemError) if of_transport => {
            Fault::Unavailable(message)
        }
        Some(ErrorNumber::OperationTimeout | ErrorNumber::ResourceBusy) => Fault::Busy(message),
        _ if is_of_network(error, &message) => Fault::host(HostCause::Network, message),
        Some(ErrorNumber::ConfigUnsupported | ErrorNumber::XmlError | ErrorNumber::XmlDetail) => {
            Fault::permanent("DEFINITION_REFUSED", format!("libvirt refuses the definition: {message}"))
        }
        _ => Fault::said(message),
    }
}

/// The network that guests are attached to is missing or down, or its bridge is.
fn is_of_network(error: &Error, message: &str) -> bool {
    let bridge = message.contains("Cannot get interface") || message.contains("Unable to add bridge");
    matches!(known(error.domain()), Some(ErrorDomain::Network))
        || known_number(error) == Some(ErrorNumber::NoNetwork)
        || bridge
}

/// The operation makes no sense in the state the domain is in.
pub fn is_wrong_state(error: &Error) -> bool {
    known_number(error) == Some(ErrorNumber::OperationInvalid)
}

/// This libvirt cannot do that at all.
pub fn is_unsupported(error: &Error) -> bool {
    matches!(
        known_number(error),
        Some(ErrorNumber::NoSupport | ErrorNumber::ArgumentUnsupported | ErrorNumber::InvalidArg)
    )
}

/// The agent is not there, or not there yet.
pub fn is_agent_silent(error: &Error) -> bool {
    let silent = [
        ErrorNumber::AgentUnresponsive,
        ErrorNumber::AgentUnsynced,
        ErrorNumber::AgentCommandTimeout,
        ErrorNumber::AgentCommandFailed,
        ErrorNumber::OperationInvalid,
        ErrorNumber::ArgumentUnsupported,
        ErrorNumber::NoDomain,
    ];
    known_number(error).is_some_and(|n| silent.contains(&n))
}

fn known_number(error: &Error) -> Option<ErrorNumber> {
    match error.code() {
        virt::enumutil::Enum::Known(number) => Some(number),
        virt::enumutil::Enum::Unknown(_) => None,
    }
}

fn known<E: Copy, I>(value: virt::enumutil::Enum<E, I>) -> Option<E> {
    match value {
        virt::enumutil::Enum::Known(known) => Some(known),
        virt::enumutil::Enum::Unknown(_) => None,
    }
}
