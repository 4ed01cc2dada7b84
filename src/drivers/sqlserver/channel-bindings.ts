import type { TLSSocket } from 'node:tls'
import { peerCertificate } from '../network/tls.ts'
import { tlsServerEndPoint } from '../network/tls-server-end-point.ts'

/**
 * The application data of the channel bindings of a login (RFC 5929), which a server with Extended Protection compares
 * with those of its own end of the TLS session.
 *
 * Inside TDS packets TLS is at most 1.2, and SQL Server takes `tls-unique`: the client's Finished message of a full
 * handshake. TLS 1.3 has no such value; there, and under `strict`, it is `tls-server-end-point`.
 *
 * @returns undefined where the certificate's signature has no hash function that the RFC could take
 */
export function channelBindings(tls: TLSSocket): Buffer | undefined {
  if (tls.alpnProtocol === false && tls.getProtocol() !== 'TLSv1.3') {
    const finished = tls.getFinished()
    return finished === undefined ? undefined : Buffer.concat([Buffer.from('tls-unique:'), finished])
  }
  const certificate = peerCertificate(tls)
  const hash = certificate === undefined ? undefined : tlsServerEndPoint(certificate.raw)
  return hash === undefined ? undefined : Buffer.concat([Buffer.from('tls-server-end-point:'), hash])
}
