import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { test } from 'node:test'
import { ScramClient } from '../../../../src/drivers/postgres/scram.ts'
import { Secret } from '../../../../src/secret.ts'

/** RFC 5802, section 3, step by step, for a login without channel binding. */
function proof(password: string, nonce: string, salt: string, iterations: number): string {
  const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), iterations, 32, 'sha256')
  const clientKey = hmac(salted, 'Client Key')
  const message = `n=,r=${nonce},r=${nonce}s,s=${salt},i=${iterations},c=biws,r=${nonce}s`
  const signature = hmac(createHash('sha256').update(clientKey).digest(), message)
  return Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0))).toString('base64')
}

async function answer(password: Secret, nonce: string, salt: string, iterations: number): Promise<string> {
  const client = new ScramClient(password, { kind: 'none' }, nonce)
  client.firstMessage()
  const final = await client.finalMessage(`r=${nonce}s,s=${salt},i=${iterations}`)
  return final.toString().replace(/.*,p=/, '')
}

test('the kept salted password serves every login with the same salt, and no login with another', async () => {
  const password = new Secret('pencil')
  const salts = [Buffer.alloc(16, 1).toString('base64'), Buffer.alloc(16, 2).toString('base64')] as const
  for (const [nonce, salt, iterations] of [
    ['a', salts[0], 4096],
    ['b', salts[0], 4096],
    ['c', salts[1], 4096],
    ['d', salts[0], 4096],
    ['e', salts[0], 8192],
  ] as const) {
    assert.equal(await answer(password, nonce, salt, iterations), proof('pencil', nonce, salt, iterations), nonce)
  }
  assert.equal(await answer(new Secret('pen'), 'f', salts[0], 4096), proof('pen', 'f', salts[0], 4096))
})
