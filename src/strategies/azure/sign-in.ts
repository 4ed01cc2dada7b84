/** The ways in which a person signs in at a screen: they are asked once, and tokens are renewed without them. */

import type { AccessToken, TokenCredential } from '@azure/identity'
import { PoolsmithError } from '../../errors.ts'
import type { Emit, EventFacts } from '../../events.ts'
import type { StrategyContext } from '../strategy.ts'
import { supervise } from '../supervise.ts'
import { askInBrowser } from './browser.ts'
import { ANY_TENANT, authorityOf, PUBLIC_CLIENT } from './cloud.ts'
import { azureFailure, lastOf } from './failure.ts'
import type { AzureOptions } from './fields.ts'
import { type Attempt, defined, type Identity, type PipelineOptions, pipeline, requestLimitMillis } from './pipeline.ts'
import { tokenOf } from './token.ts'

export interface SignInContext extends Pick<StrategyContext, 'emit' | 'environment'> {
  readonly kind: 'interactive' | 'device_code'
  readonly login: string | undefined
  readonly agents: StrategyContext['agents'] | undefined
  readonly listens: StrategyContext['listens'] | undefined
}

type Supervised = <T>(work: () => Promise<T>) => Promise<T>

/**
 * Gives tokens for a person, who is asked when there is no other way: the first time, and when Entra does not renew
 * what they once gave. The SDK's credential keeps the refresh token, in memory only.
 *
 * @returns a function that throws PoolsmithError SIGN_IN_IMPOSSIBLE, SIGN_IN_TIMEOUT, and whatever the SDK throws
 */
export function personSignIn(
  identity: Identity,
  options: AzureOptions,
  scope: string,
  context: SignInContext,
): (attempt: Attempt) => Promise<AccessToken> {
  const shared = pipeline(options, context.agents)
  /** The credential with which the person has signed in. */
  let known: TokenCredential | undefined

  return async ({ signal: given, requests }) => {
    const limit = AbortSignal.timeout(options.sign_in_timeout * 1000)
    const signal = AbortSignal.any([given, limit])
    // The SDK's requests, and not the browser: that is the person's own program.
    const supervised: Supervised = (work) =>
      supervise({ signal, requests, requestLimitMillis: requestLimitMillis(options) }, work)
    try {
      if (known !== undefined) {
        const credential = known
        try {
          return await supervised(() => tokenOf(credential, scope, signal))
        } catch (error) {
          if (signal.aborted || azureFailure(error, lastOf(requests), []).transient) throw error
        }
        requests.length = 0
      }
      refuseWhereNobodyIs(context)
      const credential = await ask(identity, options, scope, context, shared, signal, supervised)
      const token = await supervised(() => tokenOf(credential, scope, signal))
      known = credential
      return token
    } catch (error) {
      throw limit.aborted && !given.aborted ? tooSlow(options.sign_in_timeout) : error
    }
  }
}

async function ask(
  identity: Identity,
  options: AzureOptions,
  scope: string,
  { kind, login, emit, environment, listens }: SignInContext,
  shared: PipelineOptions,
  signal: AbortSignal,
  supervised: Supervised,
): Promise<TokenCredential> {
  const tenantId = options.tenant_id ?? ANY_TENANT
  const clientId = options.client_id ?? PUBLIC_CLIENT
  const show = (message: string, url: string, userCode?: string): void => {
    const expiresAt = Date.now() + options.sign_in_timeout * 1000
    tell({ message, url, userCode, expiresAt }, emit, listens)
  }
  if (kind === 'device_code') {
    const credential = new identity.DeviceCodeCredential({
      ...shared,
      tenantId,
      clientId,
      // The next time, too, this module decides whether a person can be asked.
      disableAutomaticAuthentication: true,
      userPromptCallback: ({ message, verificationUri, userCode }) => show(message, verificationUri, userCode),
    })
    await supervised(() => credential.authenticate(scope, { abortSignal: signal }))
    return credential
  }
  const { code, redirectUri, verifier } = await askInBrowser({
    authorizeUrl: `${options.authority_host ?? authorityOf(options.cloud)}/${tenantId}/oauth2/v2.0/authorize`,
    parameters: {
      client_id: clientId,
      scope: `${scope} openid profile offline_access`,
      ...defined({ login_hint: options.azure_username ?? login }),
    },
    environment,
    show: (url) => show(`Sign in in the browser. Where none opens, open this address on this machine: ${url}`, url),
    signal,
  })
  return new identity.AuthorizationCodeCredential(tenantId, clientId, code, redirectUri, {
    ...shared,
    additionalPolicies: [...(shared.additionalPolicies ?? []), pkce(verifier)],
  })
}

/** Adds the proof that this client requested the code (RFC 7636, 4.5); the SDK has no option for it. */
function pkce(verifier: string): NonNullable<PipelineOptions['additionalPolicies']>[number] {
  return {
    position: 'perCall',
    policy: {
      name: 'poolsmithPkce',
      sendRequest(request, next) {
        const { body } = request
        if (typeof body === 'string' && new URLSearchParams(body).get('grant_type') === 'authorization_code') {
          request.body = `${body}&code_verifier=${verifier}`
        }
        return next(request)
      },
    },
  }
}

function tell(
  prompt: EventFacts['credential:prompt'],
  emit: Emit,
  listens: StrategyContext['listens'] | undefined,
): void {
  if (listens?.('credential:prompt') !== true && process.stderr.isTTY) process.stderr.write(`${prompt.message}\n`)
  emit('credential:prompt', prompt)
}

/** A prompt that no person sees would only end in a time limit. */
function refuseWhereNobodyIs({ kind, environment, listens }: SignInContext): void {
  const desktop =
    process.platform === 'darwin' ||
    process.platform === 'win32' ||
    [environment.DISPLAY, environment.WAYLAND_DISPLAY, environment.BROWSER, environment.WSL_DISTRO_NAME].some(Boolean)
  const seen = listens?.('credential:prompt') === true || process.stderr.isTTY || (kind === 'interactive' && desktop)
  const unattended = !['', '0', 'false'].includes(environment.CI?.toLowerCase() ?? '')
  if (seen && !unattended) return
  const why = unattended
    ? 'CI is set in the environment'
    : `the event credential:prompt has no listener, and stderr is no terminal${kind === 'interactive' ? ', nor is there a desktop' : ''}`
  throw new PoolsmithError(`azure_credential=${kind} needs a person, and no prompt can be shown here: ${why}.`, {
    code: 'SIGN_IN_IMPOSSIBLE',
    phase: 'credential',
    hint: 'Use a service principal, a managed identity or a workload identity where no person is present; or listen to the event credential:prompt and show its message.',
  })
}

function tooSlow(limitSeconds: number): PoolsmithError {
  return new PoolsmithError(`The sign-in was not completed within ${limitSeconds} s (sign_in_timeout).`, {
    code: 'SIGN_IN_TIMEOUT',
    phase: 'credential',
    hint: 'Sign in when the prompt appears, or give more time by sign_in_timeout.',
  })
}
