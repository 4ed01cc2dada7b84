/** The contradictions between the options of SQL Server. */

import type { ConfigProblem } from '../../errors.ts'
import { addressProblems } from './addresses.ts'
import type { SqlServerOptions, SqlServerTarget } from './options.ts'

/** The longest text in a login (MS-TDS 2.2.6.4), in characters; a server closes the connection over a longer one. */
const LONGEST_TEXT = 128

/** A packet must fit into one record of TLS (Microsoft Learn, "network packet size"). */
const LARGEST_ENCRYPTED_PACKET = 16_383

/** The problems of the options taken together. */
export function checkSqlServerOptions(target: SqlServerTarget, options: SqlServerOptions): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (target.host?.startsWith('/')) {
    problems.push({ path: 'host', message: 'SQL Server has no Unix sockets; give a host name or an address' })
  }
  for (const [path, text] of [
    ['login', target.login],
    ['database', target.database],
    ['extra.application_name', options.application_name],
    ['extra.workstation_id', options.workstation_id],
    ['extra.language', options.language],
  ] as const) {
    if ((text?.length ?? 0) > LONGEST_TEXT) {
      problems.push({ path, message: `SQL Server takes at most ${LONGEST_TEXT} characters` })
    }
  }
  if (options.encrypt === 'strict' && options.trust_server_certificate) {
    problems.push({
      path: 'extra.trust_server_certificate',
      message: 'encrypt=strict always verifies the certificate; give ca_file or host_name_in_certificate instead',
    })
  }
  for (const name of ['server_certificate', 'ca_file', 'host_name_in_certificate'] as const) {
    if (!options.trust_server_certificate || options[name] === undefined) continue
    problems.push({
      path: `extra.${name}`,
      message: 'checks nothing under trust_server_certificate=true; leave one of them out',
    })
  }
  if (options.encrypt !== 'false' && options.packet_size > LARGEST_ENCRYPTED_PACKET) {
    problems.push({
      path: 'extra.packet_size',
      message: `the server takes at most ${LARGEST_ENCRYPTED_PACKET} where the session is encrypted`,
    })
  }
  return [...problems, ...addressProblems(target, options)]
}
