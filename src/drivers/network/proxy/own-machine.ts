import { BlockList, isIP } from 'node:net'

/**
 * Addresses that answer for this machine alone: asked through a proxy, they would give the proxy's identity, or hand
 * ours to it. Loopback; link-local, with the metadata services of AWS (169.254.169.254, 169.254.170.2, .23), Azure
 * and Google; AWS' over IPv6 (fd00:ec2::254, ::23); Azure's host (168.63.129.16).
 */
const OWN = new BlockList()
OWN.addSubnet('127.0.0.0', 8, 'ipv4')
OWN.addSubnet('169.254.0.0', 16, 'ipv4')
OWN.addAddress('168.63.129.16', 'ipv4')
OWN.addAddress('::1', 'ipv6')
OWN.addSubnet('fe80::', 10, 'ipv6')
OWN.addSubnet('fd00:ec2::', 32, 'ipv6')

const OWN_NAMES = /^(?:(?:.*\.)?localhost|metadata|metadata\.google\.internal|metadata\.azure\.internal)\.?$/i

/** Whether a host is an instance metadata service or another part of this machine. */
export function isOwnMachine(host: string): boolean {
  const version = isIP(host)
  // BlockList also finds an IPv4 address that is written as IPv6 (::ffff:169.254.169.254).
  return version === 0 ? OWN_NAMES.test(host) : OWN.check(host, version === 4 ? 'ipv4' : 'ipv6')
}
