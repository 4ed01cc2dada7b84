import { faultOf, isTransient } from '../../credentials/failure.ts'
import { isLate, isNoRoute, metadataHint } from '../metadata.ts'
import type { SupervisedRequest } from '../supervise.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** A failure of a metadata service that may pass. */
export interface MetadataTrouble {
  /** An error that says it: the SDK's own tells of the last step of its chain. */
  readonly error: Error
  readonly hint: string
}

/**
 * The first trouble of a metadata service among the requests of one fetch: no answer, or 404, 410, 429 or 5xx. What
 * follows it says less, such as the 401 of a service that was then asked without the session token.
 */
export function metadataTrouble(
  requests: readonly SupervisedRequest[],
  environment: Environment,
): MetadataTrouble | undefined {
  for (const request of requests) {
    const kind = kindOf(request, environment)
    if (kind === undefined) continue
    const { host, status, error } = request
    const fault = faultOf(error ?? { status })
    // Where nothing says that a service is there, none need be.
    if (kind === 'found' && isNoRoute(error)) continue
    if (!isTransient(fault) && !isLate(fault)) continue
    const said = error === undefined ? `answered HTTP ${status}` : `failed: ${error.message}`
    const shown = Object.assign(new Error(`the metadata service ${host} ${said}`), { status, code: fault.code })
    return { error: shown, hint: `${metadataHint(host)} ${HOPS}` }
  }
  return undefined
}

const HOPS =
  "In a container, the hop limit of the instance's metadata options (HttpPutResponseHopLimit) must be 2 or more."

/** `named`: by the environment, so that it must be there. `found`: at the address where EC2 has it. */
function kindOf({ path, host }: SupervisedRequest, environment: Environment): 'named' | 'found' | undefined {
  const {
    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: relative,
    AWS_CONTAINER_CREDENTIALS_FULL_URI: full,
    AWS_EC2_METADATA_SERVICE_ENDPOINT: endpoint,
  } = environment
  if (relative && host === '169.254.170.2') return 'named'
  if (full && URL.canParse(full) && new URL(full).host === host) return 'named'
  if (!path.startsWith('/latest/')) return undefined
  return endpoint ? 'named' : 'found'
}
