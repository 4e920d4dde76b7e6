import { UUID } from "@lumino/coreutils";

/**
 * Idempotency keys of one form: a request that is sent again, as its answer was lost or the button was pressed twice,
 * has the key of before and is the same run. Another content has another key, and so has the next run of the same.
 */
export class StartKey {
  /** `body` with its key. */
  of<T extends object>(body: T): T & { idempotency_key: string } {
    const content = JSON.stringify(body);
    if (content !== this.content) {
      this.content = content;
      this.key = UUID.uuid4();
    }
    return { ...body, idempotency_key: this.key };
  }

  /** The run was started. */
  done(): void {
    this.content = null;
  }

  private content: string | null = null;
  private key = "";
}
