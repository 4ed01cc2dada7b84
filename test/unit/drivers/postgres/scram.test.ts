import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { test } from 'node:test'
import { type ChannelBinding, MAX_ITERATIONS, ScramClient } from '../../../../src/drivers/postgres/scram.ts'
import { Secret } from '../../../../src/secret.ts'

const SALT = 'W22ZaJ0SNY7soEsUEjb6gQ=='
const NONCE = 'rOprNGfwEbeRWgbNEkqO'
const SERVER_FIRST = `r=${NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=${SALT},i=4096`
const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

/** The server's half, straight from RFC 5802, section 3. */
function judge(first: string, final: string, serverFirst = SERVER_FIRST): { known: boolean; signature: string } {
  const bare = first.replace(/^[^,]*,[^,]*,/, '')
  const [withoutProof = '', proof = ''] = final.split(',p=')
  const salted = pbkdf2Sync('pencil', Buffer.from(SALT, 'base64'), 4096, 32, 'sha256')
  const auth = `${bare},${serverFirst},${withoutProof}`
  const stored = createHash('sha256').update(hmac(salted, 'Client Key')).digest()
  const signature = hmac(stored, auth)
  const key = Buffer.from(proof, 'base64').map((byte, index) => byte ^ (signature[index] ?? 0))
  return {
    known: createHash('sha256').update(key).digest().equals(stored),
    signature: hmac(hmac(salted, 'Server Key'), auth).toString('base64'),
  }
}

const client = (binding: ChannelBinding, password = 'pencil'): ScramClient =>
  new ScramClient(new Secret(password), binding, NONCE)

const hash = Buffer.from('0123456789abcdef')
const BINDINGS: readonly [binding: ChannelBinding, header: string, data: Buffer][] = [
  [{ kind: 'none' }, 'n,,', Buffer.alloc(0)],
  [{ kind: 'unoffered' }, 'y,,', Buffer.alloc(0)],
  [{ kind: 'bound', certificateHash: hash }, 'p=tls-server-end-point,,', hash],
]

for (const [binding, header, data] of BINDINGS) {
  test(`an exchange with channel binding ${binding.kind}`, async () => {
    const scram = client(binding)
    const first = scram.firstMessage().toString()
    assert.equal(first, `${header}n=,r=${NONCE}`)
    const final = (await scram.finalMessage(SERVER_FIRST)).toString()
    assert.match(final, /^c=[^,]+,r=[^,]+,p=[^,]+$/)
    const bound = Buffer.from(/^c=([^,]+)/.exec(final)?.[1] ?? '', 'base64')
    assert.deepEqual(bound, Buffer.concat([Buffer.from(header), data]))
    const { known, signature } = judge(first, final)
    assert.equal(known, true)
    scram.verify(`v=${signature}`)
  })
}

test('another password is refused, and a server that does not know the password is refused', async () => {
  const scram = client({ kind: 'none' }, 'pen')
  const first = scram.firstMessage().toString()
  const { known, signature } = judge(first, (await scram.finalMessage(SERVER_FIRST)).toString())
  assert.equal(known, false)
  assert.throws(() => scram.verify(`v=${signature}`), { name: 'ScramFailure', reason: 'signature' })
  assert.throws(() => scram.verify('v='), { reason: 'signature' })
  assert.throws(() => scram.verify('e=invalid-proof'), { reason: 'refused' })
  assert.throws(() => client({ kind: 'none' }).verify(`v=${signature}`), { reason: 'signature' })
})

test('two clients never use the same nonce', () => {
  const nonce = (): string => new ScramClient(new Secret('x'), { kind: 'none' }).firstMessage().toString()
  assert.notEqual(nonce(), nonce())
})

test('messages of a server that violate the rules are refused', async () => {
  const said: readonly [message: string, reason: string][] = [
    ['', 'malformed'],
    [`r=${NONCE}x,s=${SALT}`, 'malformed'],
    [`r=${NONCE}x,s=,i=4096`, 'malformed'],
    [`r=${NONCE}x,s=${SALT},i=0`, 'malformed'],
    [`r=${NONCE}x,s=${SALT},i=-1`, 'malformed'],
    [`m=must,r=${NONCE}x,s=${SALT},i=4096`, 'malformed'],
    [`r=${NONCE},s=${SALT},i=4096`, 'malformed'],
    [`r=x${NONCE}x,s=${SALT},i=4096`, 'malformed'],
    [`r=${NONCE}x,s=${SALT},i=${MAX_ITERATIONS + 1}`, 'iterations'],
  ]
  for (const [message, reason] of said) {
    await assert.rejects(client({ kind: 'none' }).finalMessage(message), { name: 'ScramFailure', reason }, message)
  }
  await client({ kind: 'none' }).finalMessage(`r=${NONCE}x,s=${SALT},i=1,x=later`)
})
