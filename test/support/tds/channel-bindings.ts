/** Part of the TDS server test double: the application data of channel bindings, from the server's end. */

import { createHash, X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { TdsServerOptions } from './options.ts'

/** RFC 5929: `tls-unique`, the client's Finished, inside TDS packets; `tls-server-end-point` under TDS 8.0. */
export function bindingsOf(tls: TLSSocket, isStrict: boolean, options: TdsServerOptions): Buffer | undefined {
  if (!isStrict) {
    const finished = tls.getPeerFinished()
    return finished === undefined ? undefined : Buffer.concat([Buffer.from('tls-unique:'), finished])
  }
  // The test certificates are signed with SHA-256.
  const { raw } = new X509Certificate(options.tls?.cert ?? '')
  return Buffer.concat([Buffer.from('tls-server-end-point:'), createHash('sha256').update(raw).digest()])
}
