import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Credential } from '../../../../src/credentials/credential.ts'
import { endsSession, refusalError } from '../../../../src/drivers/sqlserver/server-error.ts'
import { Secret } from '../../../../src/secret.ts'

const PASSWORD: Credential = { kind: 'password', identity: 'sa', password: new Secret('pw'), issuedAt: 0 }
const TICKET: Credential = { kind: 'gss', identity: 'alice@R', issuedAt: 0 }
const NTLM: Credential = {
  kind: 'ntlm',
  identity: 'D\\u',
  domain: 'D',
  user: 'u',
  password: new Secret('pw'),
  issuedAt: 0,
}
const jwt = (claims: object): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`
const TOKEN: Credential = { kind: 'token', identity: 'svc', token: new Secret(jwt({ aud: 'https://x/' })), issuedAt: 0 }

const refused = (number: number, state = 1, credential: Credential = PASSWORD, message = 'Login failed.') => {
  const error = refusalError([{ number, state, class: 14, message }], credential)
  assert.ok(error !== undefined)
  assert.deepEqual(error.details, { number, state, class: 14 })
  assert.equal(error.phase, 'login')
  assert.match(error.message, new RegExp(`\\(error ${number}, state ${state}\\)$`))
  return error
}

describe('error 18456', () => {
  for (const [state, code, hint] of [
    [1, 'LOGIN_REFUSED', /^Check login and password\. .*ERRORLOG/],
    [2, 'LOGIN_REFUSED', /no such login/],
    [5, 'LOGIN_REFUSED', /no such login/],
    [6, 'LOGIN_REFUSED', /use Kerberos/],
    [7, 'LOGIN_REFUSED', /disabled/],
    [8, 'LOGIN_REFUSED', /password is wrong/],
    [9, 'LOGIN_REFUSED', /not valid/],
    [11, 'LOGIN_REFUSED', /may not connect/],
    [12, 'LOGIN_REFUSED', /may not connect/],
    [13, 'SERVER_NOT_READY', /paused/],
    [18, 'LOGIN_PASSWORD_CHANGE', /must be changed/],
    [23, 'SERVER_NOT_READY', /shutting down/],
    [38, 'DATABASE_NOT_FOUND', /database does not exist/],
    [40, 'DATABASE_NOT_FOUND', /default database/],
    [46, 'DATABASE_NOT_FOUND', /database does not exist/],
    [58, 'LOGIN_REFUSED', /Windows and Entra logins only/],
    [123, 'LOGIN_REFUSED', /empty/],
    [126, 'DATABASE_NOT_FOUND', /database does not exist/],
  ] as const) {
    test(`state ${state}`, () => {
      const error = refused(18_456, state)
      assert.equal(error.code, code)
      assert.match(error.hint ?? '', hint)
      assert.equal(error.transient, code === 'SERVER_NOT_READY')
    })
  }

  test('for a ticket names the principal that is no login, and for a token the user that is missing', () => {
    assert.match(refused(18_456, 1, TICKET).hint ?? '', /principal is no login here: CREATE LOGIN/)
    assert.match(refused(18_456, 11, TICKET).hint ?? '', /^The account is known .* CREATE LOGIN/)
    assert.match(refused(18_456, 102, TOKEN).hint ?? '', /^The token was read; CREATE USER/)
    assert.equal(refused(18_456, 126, TOKEN).code, 'DATABASE_NOT_FOUND')
    assert.match(refused(18_456, 102, TOKEN, 'Token is expired.').hint ?? '', /clock/)
    const foreign = refused(18_456, 1, TOKEN, 'Server is not currently configured to accept this token.')
    assert.equal(foreign.code, 'TOKEN_AUDIENCE')
    assert.match(foreign.hint ?? '', /is for https:\/\/x\//)
  })
})

describe('every other refusal', () => {
  for (const [number, code, transient, hint] of [
    [18_463, 'LOGIN_PASSWORD_CHANGE', false, /ALTER LOGIN/],
    [18_487, 'LOGIN_PASSWORD_CHANGE', false, /ALTER LOGIN/],
    [18_488, 'LOGIN_PASSWORD_CHANGE', false, /ALTER LOGIN/],
    [18_486, 'LOGIN_ROLE_UNUSABLE', false, /UNLOCK/],
    [18_470, 'LOGIN_ROLE_UNUSABLE', false, /ENABLE/],
    [911, 'DATABASE_NOT_FOUND', false, /name of the database/],
    [4060, 'DATABASE_NOT_FOUND', false, /name of the database/],
    [916, 'DATABASE_NOT_PERMITTED', false, /CREATE USER/],
    [40_615, 'LOGIN_NOT_ADMITTED', false, /firewall/],
    [17_809, 'SERVER_FULL', true, /pool_size/],
    [17_189, 'SERVER_FULL', true, /pool_size/],
    [17_197, 'SERVER_FULL', true, /pool_size/],
    [17_803, 'SERVER_FULL', true, /pool_size/],
    [6005, 'SERVER_NOT_READY', true, /wait/],
    [921, 'SERVER_NOT_READY', true, /wait/],
    [17_187, 'SERVER_NOT_READY', true, /wait/],
    [17_188, 'SERVER_NOT_READY', true, /wait/],
    [42_108, 'SERVER_NOT_READY', true, /resume/],
    [40_020, 'SERVER_THROTTLED', true, /later/],
    [40_166, 'SERVER_THROTTLED', true, /later/],
    [42_109, 'SERVER_THROTTLED', true, /later/],
    [40_501, 'SERVER_THROTTLED', true, /later/],
    [40_613, 'SERVER_THROTTLED', true, /serverless.*within pool_timeout: set it to 90/],
    [49_918, 'SERVER_THROTTLED', true, /later/],
    [49_919, 'SERVER_THROTTLED', true, /later/],
    [49_920, 'SERVER_THROTTLED', true, /later/],
    [60_000, 'SERVER_ERROR', false, /log/],
  ] as const) {
    test(`error ${number}`, () => {
      const error = refused(number, 3)
      assert.deepEqual([error.code, error.transient], [code, transient])
      assert.match(error.hint ?? '', hint)
    })
  }

  test('error 18452 means what the credential makes of it', () => {
    assert.equal(refused(18_452, 1, TICKET).code, 'GSS_SERVER_REFUSED')
    assert.equal(refused(18_452, 1, NTLM).code, 'LOGIN_REFUSED')
  })

  test('is told by the more telling one of several errors, and is none where the server said nothing', () => {
    const both = [18_456, 4060].map((number) => ({ number, state: 1, class: 14, message: 'No.' }))
    assert.equal(refusalError(both, PASSWORD)?.code, 'DATABASE_NOT_FOUND')
    assert.equal(refusalError([], PASSWORD), undefined)
  })
})

test('an error of severity 20 ends the session, and no lesser one', () => {
  assert.deepEqual([endsSession({ number: 1, class: 20 }), endsSession({ number: 1, class: 19 })], [true, false])
})

describe('errors that only a setting or a little patience helps against', () => {
  for (const [number, code, transient, hint] of [
    [976, 'SERVER_NOT_READY', true, /listener/],
    [983, 'SERVER_NOT_READY', true, /listener/],
    [978, 'DATABASE_NOT_PERMITTED', false, /application_intent=ReadOnly/],
    [979, 'DATABASE_NOT_PERMITTED', false, /ReadWrite/],
    [17_892, 'LOGIN_NOT_ADMITTED', false, /logon trigger/],
    [18_461, 'SERVER_NOT_READY', true, /administrator/],
    [40_532, 'LOGIN_REFUSED', false, /login@server/],
    [40_607, 'AUTH_METHOD_UNSUPPORTED', false, /azure_ad/],
    [40_914, 'LOGIN_NOT_ADMITTED', false, /firewall/],
    [47_073, 'LOGIN_NOT_ADMITTED', false, /private endpoint/],
  ] as const) {
    test(`${number}`, () => {
      const error = refused(number)
      assert.equal(error.code, code)
      assert.equal(error.transient, transient)
      assert.match(error.hint ?? '', hint)
    })
  }
})
