import { connect } from 'node:net'
import { kerberosError } from './errors.ts'
import { configuredValues, loadKrb5 } from './native/krb5.ts'
import type { Krb5Functions } from './native/krb5-functions.ts'

/** Where krb5 looks for the daemon unless `kcm_socket` says otherwise. */
const DEFAULT_SOCKET = '/var/run/.heim_org.h5l.kcm-socket'
/** How long the daemon may take to answer, in milliseconds; systemd may have to start it first. */
const LIMIT_MILLIS = 3000
/** A request in Heimdal's IPC: length, protocol 2.0, GET_DEFAULT_CACHE (20). */
const QUESTION = Buffer.from([0, 0, 0, 4, 2, 0, 0, 20])

/**
 * libkrb5, once it is sure that a cache can be read at once. Reading a file is; but what KCM keeps is asked of a daemon,
 * and krb5 waits for its answer without a limit, on whatever thread: so we ask it first, on a socket of our own.
 *
 * @throws TICKET_CACHE_DAEMON_MISSING when it does not answer; PACKAGE_MISSING, GSS_LIBRARY_MISSING
 */
export async function krb5ToRead(cache: string | undefined): Promise<Krb5Functions> {
  const functions = await loadKrb5()
  const name = cache ?? (process.env.KRB5CCNAME || configured(functions, 'default_ccache_name') || '')
  if (name.startsWith('KCM:')) await assertAnswers(configured(functions, 'kcm_socket') ?? DEFAULT_SOCKET, name)
  return functions
}

function configured(functions: Krb5Functions, name: string): string | undefined {
  return configuredValues(functions, [['libdefaults', name]])[0]
}

function assertAnswers(path: string, cache: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (cause?: Error): void => {
      socket.destroy()
      const more = cause === undefined ? `It was silent for ${LIMIT_MILLIS / 1000} s.` : `${cause.message}.`
      reject(kerberosError('TICKET_CACHE_DAEMON_MISSING', { cache }, { cause, more }))
    }
    const socket = connect(path)
    socket.setTimeout(LIMIT_MILLIS, () => fail())
    socket.once('error', fail)
    socket.once('end', () => fail(new Error('it hung up')))
    socket.once('connect', () => socket.write(QUESTION))
    socket.once('data', () => {
      socket.destroy()
      resolve()
    })
  })
}
