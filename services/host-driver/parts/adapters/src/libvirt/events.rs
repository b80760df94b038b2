//! libvirt's lifecycle events. The one place that speaks to C: the `virt` crate does not wrap these calls.
//!
//! What has to hold, and why it does:
//! - libvirt calls back on the event-loop thread with an opaque pointer. It is a leaked `Box<Hook>`; libvirt gives it to
//!   [`free`] exactly once, after the last call, so it is valid in every call.
//! - `Hook` is only used through a shared reference, and its sender is `Sync`.
//! - a callback must not unwind into C: it does nothing that panics.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;
use tokio::sync::mpsc;
use virt::connect::Connect;
use virt_sys as sys;

/// What happened to a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// Defined, started, stopped, paused, …
    Lifecycle,
    /// The guest began to boot again without leaving memory.
    Rebooted,
}

/// A domain, by its UUID in text, and what happened to it.
pub type Event = (String, Happened);

struct Hook {
    happened: Happened,
    sender: mpsc::UnboundedSender<Event>,
}

/// Starts libvirt's event loop once for the process. Must run before the first connection is opened.
pub fn start_event_loop() -> Result<(), String> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            virt::error::clear_error_callback();
            virt::event::event_register_default_impl().map_err(|e| e.to_string())?;
            std::thread::Builder::new()
                .name("libvirt-events".to_owned())
                .spawn(|| {
                    loop {
                        if let Err(error) = virt::event::event_run_default_impl() {
                            tracing::warn!(%error, "libvirt event loop stumbled");
                            std::thread::sleep(std::time::Duration::from_millis(100));
                        }
                    }
                })
                .map_err(|e| e.to_string())?;
            Ok(())
        })
        .clone()
}

/// Registered callbacks; dropping it ends them.
pub struct Registration {
    connection: Connect,
    callbacks: Vec<c_int>,
}

/// Sends every event of every domain to `sender` from now on.
pub fn register(
    connection: &Connect,
    sender: &mpsc::UnboundedSender<Event>,
) -> Result<Registration, virt::error::Error> {
    let mut registration = Registration { connection: connection.clone(), callbacks: Vec::new() };
    // SAFETY: both functions have the signature that libvirt documents for their event id; it calls them through this
    // generic type and passes the arguments of the specific one.
    let generic =
        |f: *const c_void| -> sys::virConnectDomainEventGenericCallback { unsafe { std::mem::transmute(f) } };
    let wanted = [
        (sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, generic(on_lifecycle as *const c_void), Happened::Lifecycle),
        (sys::VIR_DOMAIN_EVENT_ID_REBOOT, generic(on_reboot as *const c_void), Happened::Rebooted),
    ];
    for (id, callback, happened) in wanted {
        let hook = Box::into_raw(Box::new(Hook { happened, sender: sender.clone() })).cast::<c_void>();
        // SAFETY: the connection is open, a null domain means "all", and the hook lives until `free`.
        let number = unsafe {
            sys::virConnectDomainEventRegisterAny(
                connection.as_ptr(),
                std::ptr::null_mut(),
                id as c_int,
                callback,
                hook,
                Some(free),
            )
        };
        if number < 0 {
            // SAFETY: libvirt did not take the hook.
            unsafe { free(hook) };
            return Err(virt::error::Error::last_error());
        }
        registration.callbacks.push(number);
    }
    Ok(registration)
}

impl Drop for Registration {
    fn drop(&mut self) {
        for number in self.callbacks.drain(..) {
            // SAFETY: the connection is held by this value; on a dead one libvirt only reports an error.
            unsafe { sys::virConnectDomainEventDeregisterAny(self.connection.as_ptr(), number) };
        }
    }
}

unsafe extern "C" fn on_lifecycle(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { tell(domain, opaque) };
    0
}

unsafe extern "C" fn on_reboot(_: sys::virConnectPtr, domain: sys::virDomainPtr, opaque: *mut c_void) {
    // SAFETY: see the head of this file.
    unsafe { tell(domain, opaque) };
}

/// # Safety
/// `opaque` is a hook made by [`register`], `domain` a domain that is valid during the call.
unsafe fn tell(domain: sys::virDomainPtr, opaque: *mut c_void) {
    // VIR_UUID_STRING_BUFLEN
    let mut buffer: [c_char; 37] = [0; 37];
    // SAFETY: the buffer is as long as libvirt asks for, and it ends with a zero byte.
    let uuid = unsafe {
        if sys::virDomainGetUUIDString(domain, buffer.as_mut_ptr()) != 0 {
            return;
        }
        CStr::from_ptr(buffer.as_ptr())
    };
    // SAFETY: made by `register`, not freed yet.
    let hook = unsafe { &*opaque.cast::<Hook>() };
    let _ = hook.sender.send((uuid.to_string_lossy().into_owned(), hook.happened));
}

/// # Safety
/// `opaque` is a hook made by [`register`] that nobody uses any more.
unsafe extern "C" fn free(opaque: *mut c_void) {
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(opaque.cast::<Hook>()) });
}
