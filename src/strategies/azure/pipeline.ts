/** How @azure/identity sends its requests: through our agents, under our signal, and seen by us. */

import type { RequestAgents } from '../strategy.ts'
import { authorityOf } from './cloud.ts'
import type { AuthorityObservation } from './failure.ts'
import type { AzureOptions } from './fields.ts'

export type Identity = typeof import('@azure/identity')
export type PipelineOptions = NonNullable<ConstructorParameters<Identity['ClientSecretCredential']>[3]>

/** One try to get a token: what ends it, and what is seen meanwhile. */
export interface Attempt {
  readonly signal: AbortSignal
  readonly observation: AuthorityObservation
}

/**
 * MSAL hands neither the caller's signal to its requests nor their outcome to the caller: a policy in the SDK's own
 * HTTP pipeline does both, and says which way requests go.
 */
export function pipeline(
  options: AzureOptions,
  /** Looked at anew for each request, for a credential that outlives the attempt that it was made in. */
  attempt: Attempt,
  agents: RequestAgents | undefined,
): PipelineOptions {
  return {
    authorityHost: options.authority_host ?? authorityOf(options.cloud),
    disableInstanceDiscovery: options.disable_instance_discovery,
    additionalPolicies: [
      {
        position: 'perCall',
        policy: {
          name: 'poolsmithObservation',
          async sendRequest(request, next) {
            const { signal, observation } = attempt
            request.abortSignal = signal
            // The SDK's own reading of HTTPS_PROXY gives way to an agent that is there already.
            if (agents !== undefined) request.agent = request.url.startsWith('http:') ? agents.http : agents.https
            try {
              const response = await next(request)
              observation.status = response.status
              observation.retryAfter = response.headers.get('retry-after')
              return response
            } catch (error) {
              observation.error = error
              throw error
            }
          },
        },
      },
    ],
  }
}

/** Without the keys that have no value: the SDK tells "not given" from "given as undefined". */
export function defined<T extends Record<string, string | undefined>>(values: T): { [K in keyof T]?: string } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: string
  }
}
