import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { PoolsmithError } from '../../src/errors.ts'
import { TRUST } from '../../src/strategies/azure/federation/namespaces.ts'
import {
  alice,
  cache,
  failureOf,
  federation,
  kdc,
  ONE_FETCH,
  SQL_AUDIENCE,
  sourceFor,
  steps,
  tokenFor,
  UPN,
} from '../support/federation/integrated.ts'
import { ALL_ENDPOINTS, metadataDocument } from '../support/federation/metadata.ts'
import type { Deviation, Step } from '../support/federation/service.ts'
import { envelope, fault } from '../support/federation/soap.ts'

describe('a failed exchange', () => {
  const answering =
    (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Deviation =>
    (_request, response) =>
      response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body))
  const realm = (facts: object): Deviation =>
    answering(200, { account_type: 'Federated', federation_protocol: 'WSTrust', ...facts })

  interface Case {
    readonly title: string
    readonly step: Step
    readonly deviation: Deviation
    readonly code: string
    readonly message: RegExp
    readonly hint?: RegExp
    readonly details?: Readonly<Record<string, unknown>>
  }
  const cases: readonly Case[] = [
    {
      title: 'a domain whose passwords Entra keeps',
      step: 'realm',
      deviation: realm({ account_type: 'Managed' }),
      code: 'FEDERATION_MISSING',
      message: /alice@TEST\.REALM.*takes no Kerberos ticket/,
      hint: /federated with AD FS.*service_principal/,
      details: { step: 'realm', accountType: 'Managed' },
    },
    {
      title: 'a domain that Entra does not know',
      step: 'realm',
      deviation: realm({ account_type: 'Unknown' }),
      code: 'FEDERATION_MISSING',
      message: /does not know the domain of alice@TEST\.REALM/,
      hint: /name@domain/,
    },
    {
      title: 'a federation that is not WS-Trust',
      step: 'realm',
      deviation: realm({ federation_protocol: 'SAML20', federation_metadata_url: 'https://localhost/x' }),
      code: 'FEDERATION_MISSING',
      message: /federated by SAML20/,
    },
    {
      title: 'metadata without https',
      step: 'realm',
      deviation: realm({ federation_metadata_url: 'http://localhost/adfs/services/trust/mex' }),
      code: 'FEDERATION_FAILED',
      message: /not https/,
      details: { step: 'metadata' },
    },
    {
      title: 'no JSON',
      step: 'realm',
      deviation: answering(200, '<html>'),
      code: 'FEDERATION_FAILED',
      message: /localhost:\d+: the answer is not JSON/,
    },
    {
      title: 'metadata that are nowhere',
      step: 'metadata',
      deviation: answering(404, 'no'),
      code: 'FEDERATION_FAILED',
      message: /metadata of the federation service.*HTTP 404/,
      details: { status: 404, step: 'metadata' },
    },
    {
      title: 'metadata that are no XML',
      step: 'metadata',
      deviation: answering(200, '<html><p>Sign in'),
      code: 'FEDERATION_FAILED',
      message: /not well-formed XML/,
    },
    {
      title: 'metadata with a DTD',
      step: 'metadata',
      deviation: answering(200, '<!DOCTYPE d [<!ENTITY a "b">]><d>&a;</d>'),
      code: 'FEDERATION_FAILED',
      message: /it has a DTD/,
    },
    {
      title: 'metadata without end',
      step: 'metadata',
      deviation: answering(200, ' '.repeat(2 ** 20 + 1)),
      code: 'FEDERATION_FAILED',
      message: /longer than 1048576 bytes/,
    },
    {
      title: 'no endpoint for tickets, but for passwords',
      step: 'metadata',
      deviation: (request, response) =>
        response.end(
          metadataDocument(
            request.headers.host ?? '',
            ALL_ENDPOINTS.filter(({ kind }) => kind !== 'windowstransport'),
          ),
        ),
      code: 'FEDERATION_NO_ENDPOINT',
      message: /localhost:\d+ has no https endpoint that takes a ticket/,
      hint: /13\/windowstransport/,
    },
    {
      title: 'an endpoint for tickets without https',
      step: 'metadata',
      deviation: (request, response) =>
        response.end(
          metadataDocument(
            request.headers.host ?? '',
            ALL_ENDPOINTS.map((each) => ({ ...each, scheme: 'http' })),
          ),
        ),
      code: 'FEDERATION_NO_ENDPOINT',
      message: /no https endpoint/,
    },
    {
      title: 'an AD FS whose host is no principal',
      step: 'realm',
      deviation: realm({ federation_metadata_url: `https://127.0.0.1:${federation.port}/adfs/services/trust/mex` }),
      code: 'CREDENTIAL_FAILED',
      message: /metadata of the federation service.*127\.0\.0\.1/,
    },
    {
      title: 'a ticket that is refused',
      step: 'ticket',
      deviation: answering(401, '', { 'www-authenticate': 'Negotiate' }),
      code: 'FEDERATION_REFUSED',
      message: /ticket of alice@TEST\.REALM is refused/,
      hint: /HTTP\/localhost.*ExtendedProtectionTokenCheck/,
    },
    {
      title: 'NTLM alone',
      step: 'ticket',
      deviation: answering(401, '', { 'www-authenticate': 'NTLM, Basic realm="x"' }),
      code: 'FEDERATION_REFUSED',
      message: /Kerberos is not taken there/,
      details: { step: 'assertion', offered: ['ntlm', 'basic'] },
    },
    {
      title: 'a false proof',
      step: 'ticket',
      deviation: async (_request, response, ordinary) => {
        const setHeader = response.setHeader.bind(response)
        response.setHeader = (name, value) => {
          const proof = Buffer.from(String(value).slice('Negotiate '.length), 'base64')
          proof[proof.length - 5] = (proof[proof.length - 5] ?? 0) ^ 1
          return setHeader(name, `Negotiate ${proof.toString('base64')}`)
        }
        await ordinary()
      },
      code: 'FEDERATION_NOT_GENUINE',
      message: /could not prove that it is itself/,
    },
    {
      title: 'a refusal in SOAP, by status 500',
      step: 'ticket',
      deviation: (request, response) =>
        // The receiver of the ticket might repeat it.
        response
          .writeHead(500)
          .end(envelope(fault('FailedAuthentication', `MSIS3126: Access denied. ${request.headers.authorization}`))),
      code: 'FEDERATION_REFUSED',
      message: /of alice@TEST\.REALM: MSIS3126: Access denied\. Negotiate \[\.\.\.\]\.$/,
      details: { fault: 'FailedAuthentication', principal: 'alice@TEST.REALM' },
    },
    {
      title: 'an answer without an assertion',
      step: 'ticket',
      deviation: answering(200, envelope('<t:X xmlns:t="urn:x"/>')),
      code: 'FEDERATION_FAILED',
      message: /holds none of SAML/,
    },
    {
      title: 'an assertion of another kind',
      step: 'ticket',
      deviation: answering(
        200,
        envelope(
          `<t:RequestedSecurityToken xmlns:t="${TRUST['1.3'].namespace}"><Assertion xmlns="urn:other"/></t:RequestedSecurityToken>`,
        ),
      ),
      code: 'FEDERATION_FAILED',
      message: /holds none of SAML/,
    },
    {
      title: 'a redirection to where the ticket does not belong',
      step: 'ticket',
      deviation: answering(307, '', { location: 'https://elsewhere.test/adfs/services/trust/13/windowstransport' }),
      code: 'FEDERATION_FAILED',
      message: /redirection \(307\)/,
    },
    {
      title: 'an application that the tenant does not know',
      step: 'token',
      deviation: answering(400, { error: 'invalid_client', error_description: 'AADSTS700016: Not found. Trace ID: x' }),
      code: 'CREDENTIAL_REFUSED',
      message: /AADSTS700016: Not found\.$/,
      hint: /client_id is not known/,
      details: { aadsts: 700016 },
    },
    {
      title: 'a second factor',
      step: 'token',
      deviation: answering(400, { error: 'interaction_required', error_description: 'AADSTS50076: MFA.' }),
      code: 'CREDENTIAL_REFUSED',
      message: /AADSTS50076/,
      hint: /second factor.*Kerberos ticket/,
    },
    {
      title: 'a refusal without a number',
      step: 'token',
      deviation: answering(400, { error: 'invalid_grant', error_description: 'Not today.' }),
      code: 'CREDENTIAL_REFUSED',
      message: /Not today\.$/,
    },
    {
      title: 'no token',
      step: 'token',
      deviation: answering(200, { token_type: 'Bearer', expires_in: 3600 }),
      code: 'FEDERATION_FAILED',
      message: /the answer holds no token/,
    },
  ]
  for (const { title, step, deviation, code, message, hint, details } of cases) {
    test(`${title} has its own error, raised once`, async () => {
      federation.deviations[step] = deviation
      const error = await failureOf()
      assert.equal(error.code, code, inspect(error))
      assert.match(error.message, message)
      if (code.startsWith('FEDERATION_')) assert.ok(error.hint !== undefined)
      if (hint !== undefined) assert.match(error.hint ?? '', hint)
      assert.deepEqual({ ...error.details, ...details }, error.details)
      assert.equal(error.transient, false)
      // Asked once, and nobody further on after the step that failed.
      const asked = steps()
      assert.deepEqual(asked, ONE_FETCH.slice(0, asked.length))
      assert.equal(asked.at(-1), step)
    })
  }

  test('an assertion that was changed on the way is refused by Entra, and is not shown', async () => {
    federation.deviations.ticket = async (_request, response, ordinary) => {
      const end = response.end.bind(response)
      response.end = ((body: string) =>
        end(body.replace('alice@test.realm', 'admin@test.realm'))) as typeof response.end
      await ordinary()
    }
    const error = await failureOf()
    assert.equal(error.code, 'CREDENTIAL_REFUSED')
    assert.match(error.message, /AADSTS50008/)
    assert.match(error.hint ?? '', /signing certificate/)
  })

  test('a server that is down or throttles is asked again', async () => {
    let refused = 0
    const once =
      (deviation: Deviation): Deviation =>
      (request, response, ordinary) =>
        refused++ === 0 ? deviation(request, response, ordinary) : ordinary()
    const passing: readonly (readonly [Step, Deviation])[] = [
      ['realm', answering(503, 'busy')],
      ['metadata', answering(429, '', { 'retry-after': '0' })],
      ['ticket', answering(503, 'Service Unavailable')],
      ['ticket', answering(500, envelope(fault('ServerTooBusy', 'Later.', 'Receiver')))],
      [
        'token',
        answering(503, { error: 'temporarily_unavailable', error_description: 'AADSTS90033: A passing fault.' }),
      ],
      ['token', ({ socket }) => socket.destroy()],
    ]
    for (const [step, deviation] of passing) {
      federation.reset()
      refused = 0
      federation.deviations[step] = once(deviation)
      assert.equal((await federation.verify(await tokenFor(), SQL_AUDIENCE)).upn, UPN)
      assert.equal(refused, 2, step)
    }
  })

  test('a principal that the realm does not know is reported', async () => {
    await kdc.deletePrincipal('HTTP/localhost')
    await kdc.kinit('alice', cache, { keytab: alice })
    try {
      const error = await failureOf()
      assert.equal(error.code, 'SPN_UNKNOWN')
      assert.match(error.hint ?? '', /kvno HTTP\/localhost.*AD FS/)
      assert.deepEqual(steps(), ['realm', 'metadata'])
    } finally {
      await kdc.addPrincipal('HTTP/localhost')
    }
  })

  test('a key that AD FS does not have yet is reported', async () => {
    await kdc.kinit('alice', cache, { keytab: alice })
    const error = await failureOf()
    assert.equal(error.code, 'FEDERATION_REFUSED')
    assert.match(error.message, /is refused/)
  })

  test('closing the source ends a wait for a silent server, and leaves nothing behind', async () => {
    const hanging = Promise.withResolvers<void>()
    const gone = Promise.withResolvers<void>()
    federation.deviations.metadata = ({ socket }) => {
      socket.once('close', () => gone.resolve())
      hanging.resolve()
    }
    using fetching = await sourceFor()
    const outcome = fetching.source.get().catch((error: unknown) => error)
    await hanging.promise
    fetching.source.close()
    assert.ok((await outcome) instanceof PoolsmithError)
    await gone.promise
  })
})
