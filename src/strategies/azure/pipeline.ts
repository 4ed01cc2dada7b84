/** How @azure/identity sends its requests. */

import type { RequestAgents } from '../strategy.ts'
import type { SupervisedRequest } from '../supervise.ts'
import { authorityOf } from './cloud.ts'
import type { AzureOptions } from './fields.ts'

export type Identity = typeof import('@azure/identity')
export type PipelineOptions = NonNullable<ConstructorParameters<Identity['ClientSecretCredential']>[3]>

/** One attempt to get a token: the signal that ends it, and the requests that it makes. */
export interface Attempt {
  readonly signal: AbortSignal
  readonly requests: SupervisedRequest[]
}

/** No retries by the SDK: its waits heed no signal, and keep the process alive. Ours follow from the failure. */
export function pipeline(options: AzureOptions, agents: RequestAgents | undefined): PipelineOptions {
  return {
    authorityHost: options.authority_host ?? authorityOf(options.cloud),
    disableInstanceDiscovery: options.disable_instance_discovery,
    retryOptions: { maxRetries: 0 },
    additionalPolicies: [
      {
        position: 'perCall',
        policy: {
          name: 'poolsmithAgents',
          sendRequest(request, next) {
            // The SDK's own reading of HTTPS_PROXY gives way to an agent that is there already.
            if (agents !== undefined) request.agent = request.url.startsWith('http:') ? agents.http : agents.https
            // The SDK gives up its probe of the metadata service after 1 s, which a busy one does not always keep.
            if (request.timeout > 0) request.timeout = Math.max(request.timeout, requestLimitMillis(options) / 2)
            return next(request)
          },
        },
      },
    ],
  }
}

export function requestLimitMillis(options: Pick<AzureOptions, 'credential_timeout'>): number {
  return options.credential_timeout * 1000
}

/** Without the keys that have no value: the SDK tells "not given" from "given as undefined". */
export function defined<T extends Record<string, string | undefined>>(values: T): { [K in keyof T]?: string } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: string
  }
}
