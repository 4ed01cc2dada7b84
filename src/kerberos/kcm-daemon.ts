import { connect } from 'node:net'
import { kerberosError } from './errors.ts'
import { Krb5 } from './native/krb5.ts'

/** Where krb5 looks for the daemon unless `kcm_socket` says otherwise. */
const DEFAULT_SOCKET = '/var/run/.heim_org.h5l.kcm-socket'
/** How long the daemon may take to answer, in milliseconds; systemd may have to start it first. */
const LIMIT_MILLIS = 3000
/** A request in Heimdal's IPC: length, protocol 2.0, GET_DEFAULT_CACHE (20). */
const QUESTION = Buffer.from([0, 0, 0, 4, 2, 0, 0, 20])

/**
 * libkrb5, once it is certain that the cache can be read at once. A file can; but a cache of KCM is kept by a daemon,
 * and krb5 waits for its answer without a limit, on the thread that asks: so the daemon is asked first, on a socket of
 * our own. Dispose of the result.
 *
 * @param cache default: the cache that krb5 would take
 * @throws TICKET_CACHE_DAEMON_MISSING when the daemon does not answer; PACKAGE_MISSING, GSS_LIBRARY_MISSING
 */
export async function openKrb5(cache: string | undefined): Promise<Krb5> {
  const krb5 = await Krb5.open()
  try {
    const name = cache ?? defaultCache(krb5)
    if (name.startsWith('KCM:')) {
      await assertAnswers(krb5.configured('libdefaults', 'kcm_socket') ?? DEFAULT_SOCKET, name)
    }
    return krb5
  } catch (error) {
    krb5[Symbol.dispose]()
    throw error
  }
}

/** The cache that krb5 would take, as it is configured: may be a collection, or hold variables such as `%{uid}`. */
export function defaultCache(krb5: Krb5): string {
  return process.env.KRB5CCNAME || krb5.configured('libdefaults', 'default_ccache_name') || 'FILE:'
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
    socket.once('end', () => fail(new Error('It closed the connection')))
    socket.once('connect', () => socket.write(QUESTION))
    socket.once('data', () => {
      socket.destroy()
      resolve()
    })
  })
}
