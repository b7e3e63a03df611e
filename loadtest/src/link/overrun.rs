//! Loss that nobody asked for: what the kernel dropped because nobody read in time.

use std::{collections::BTreeSet, fs};

/// Datagrams that found the receive buffer of a UDP socket with one of these local ports full. 0 where the kernel does not
/// say.
pub fn of_udp_ports(ports: &BTreeSet<u16>) -> u64 {
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    tables.into_iter().filter_map(|table| fs::read_to_string(table).ok()).map(|table| udp_drops(&table, ports)).sum()
}

/// Packets that the kernel could not put into the queue of a device.
pub fn of_device(name: &str) -> u64 {
    fs::read_to_string("/proc/self/net/dev").ok().and_then(|table| transmit_drops(&table, name)).unwrap_or(0)
}

/// `sl local_address rem_address …  drops`, addresses as `0100007F:1F90`.
fn udp_drops(table: &str, ports: &BTreeSet<u16>) -> u64 {
    let drops = |line: &str| -> Option<u64> {
        let mut columns = line.split_whitespace();
        let (_, port) = columns.nth(1)?.rsplit_once(':')?;
        ports.contains(&u16::from_str_radix(port, 16).ok()?).then(|| columns.next_back()?.parse().ok())?
    };
    table.lines().filter_map(drops).sum()
}

/// `name: ` and 16 columns, of which the last eight are of what is sent; the fourth of these is drops.
fn transmit_drops(table: &str, name: &str) -> Option<u64> {
    let columns = table.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))?;
    columns.split_whitespace().nth(8 + 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn datagrams_that_nobody_reads_are_counted_for_their_socket_alone() {
        let (deaf, idle) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let port = |socket: &UdpSocket| BTreeSet::from([socket.local_addr().unwrap().port()]);
        assert_eq!(of_udp_ports(&port(&deaf)), 0);
        let target = deaf.local_addr().unwrap();
        // More than any receive buffer takes by default.
        (0..20_000).for_each(|_| _ = idle.send_to(&[0; 1_000], target).unwrap());
        assert!(of_udp_ports(&port(&deaf)) > 0);
        assert_eq!(of_udp_ports(&port(&idle)), 0);
    }

    #[test]
    fn drops_of_a_device_are_those_of_what_it_sends() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes\n\
                     \x20   lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n link0: 1 2 0 9 0 0 0 0 5 6 0 77 0 0 0 0\n";
        assert_eq!(transmit_drops(table, "link0"), Some(77));
        assert_eq!(transmit_drops(table, "link1"), None);
    }
}
