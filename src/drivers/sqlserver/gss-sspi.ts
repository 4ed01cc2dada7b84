import { PoolsmithError } from '../../errors.ts'
import { openCredential } from '../../kerberos/ensure-ticket.ts'
import type { GssContext, GssFlag, GssMechanism, GssTarget } from '../../kerberos/gss-api.ts'
import { loadGssApi } from '../../kerberos/load-gss-api.ts'
import { peersOf } from '../kerberos-info.ts'
import type { SspiFactory, SspiTarget } from './sspi.ts'

export interface GssSspiOptions {
  /** Default `krb5`, as in Microsoft's JDBC driver. */
  readonly mechanism?: GssMechanism
  /** Hands the server a ticket to act for us. Default false. */
  readonly delegate?: boolean
}

/**
 * The tokens of a Kerberos login from GSSAPI, with mutual authentication. No other mechanism is ever offered.
 *
 * @param load the GSSAPI of this platform; another one in tests
 */
export function gssSspi(options: GssSspiOptions = {}, load = loadGssApi): SspiFactory {
  const { mechanism = 'krb5', delegate = false } = options
  const flags: readonly GssFlag[] = ['mutual', 'integrity', ...(delegate ? (['delegate'] as const) : [])]
  return async (target, { principal, cache, keytab, minimumLifetimeSeconds }, signal) => {
    const gss = await load()
    const credential = await openCredential(
      gss,
      { principal, cache, keytab, minimumLifetimeSeconds },
      { signal, mechanism },
    )
    const [first, ...others] = gssTargets(target)
    const contextFor = (name: GssTarget): GssContext =>
      gss.initContext({
        target: name,
        flags,
        credential: credential.handle,
        mechanism,
        channelBindings: target.channelBindings,
      })
    let context: GssContext
    try {
      context = contextFor(first)
    } catch (error) {
      credential[Symbol.dispose]()
      throw error
    }
    return {
      async step(input) {
        for (;;) {
          try {
            const { token, complete } = await context.step(input, { signal })
            // A context can be complete without the server's proof, where the mechanism has left it out.
            const proven = complete && context.flags.includes('mutual')
            return { output: token, complete: proven }
          } catch (error) {
            const next = isUnknown(error) && input === undefined ? others.shift() : undefined
            if (next === undefined) throw error
            context[Symbol.dispose]()
            context = contextFor(next)
          }
        }
      },
      peers: () => peersOf(context.inquire()),
      close: () => {
        context[Symbol.dispose]()
        credential[Symbol.dispose]()
      },
    }
  }
}

function isUnknown(error: unknown): boolean {
  return error instanceof PoolsmithError && error.code === 'SPN_UNKNOWN'
}

/**
 * By host name krb5 may canonicalise; a name that the user spelled out is taken as it is. The SPN of a named instance
 * has its name or its port, whichever was registered.
 */
function gssTargets({ spn, host, instance, port }: SspiTarget): [GssTarget, ...GssTarget[]] {
  if (spn !== undefined) return [{ principal: spn }]
  const byPort = { service: 'MSSQLSvc', host: `${host}:${port}` }
  return instance === undefined ? [byPort] : [{ service: 'MSSQLSvc', host: `${host}:${instance}` }, byPort]
}
