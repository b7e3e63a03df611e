//! Tells the kernel which socket of a SO_REUSEPORT group a datagram belongs to, by its connection ID.

use std::{io, net::UdpSocket};

/// Attaches the steering program to the group that `socket` is in: a datagram goes to the socket whose bind order is the
/// first two bytes of the destination connection ID, modulo `sockets`.
///
/// Attach once, after the last bind and before traffic: the program belongs to the group, and replacing it under load
/// races with packets in flight. Fails where the kernel lacks the option or a sandbox forbids it.
#[cfg(target_os = "linux")]
pub(super) fn attach(socket: &UdpSocket, sockets: u16) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let mut program = program(sockets);
    let filter = libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    // SAFETY: the descriptor is open for as long as `socket` is borrowed. The kernel copies the `sock_fprog` and the
    // instructions it points to during the call; both live until it returns, and the lengths given are theirs.
    #[allow(unsafe_code, reason = "neither std, socket2 nor rustix offer SO_ATTACH_REUSEPORT_CBPF")]
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Other systems have no such option.
#[cfg(not(target_os = "linux"))]
pub(super) fn attach(_socket: &UdpSocket, _sockets: u16) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// asm-generic/socket.h. Absent from libc for some targets.
#[cfg(target_os = "linux")]
const SO_ATTACH_REUSEPORT_CBPF: libc::c_int = 51;

/// Classic BPF over the UDP payload. A load beyond the end of a datagram ends the program with 0: the first socket then
/// drops the runt.
///
/// RFC 8999 fixes both places: the destination connection ID follows the first byte in a packet with a short header, and
/// first byte, version and length in one with a long header. Clients choose the ID of their first packets at random, so
/// new connections spread evenly; all others are of [`CoreConnectionIds`](super::connection_id)' making.
#[cfg(target_os = "linux")]
fn program(sockets: u16) -> [libc::sock_filter; 7] {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    [
        instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 2, 0, LONG_HEADER),
        instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 1),
        instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, 1),
        instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 6),
        instruction(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, u32::from(sockets)),
        instruction(libc::BPF_RET | libc::BPF_A, 0, 0, 0),
    ]
}

#[cfg(target_os = "linux")]
const LONG_HEADER: u32 = 0x80;
