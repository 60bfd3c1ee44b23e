from benchmarks.results import Results
import json
def tables(results: Results) -> str:
    return "\n".join(f"{r.work} {r.system} {r.case} " + " ".join(f"{k}={v:.4g}" for k,v in r.values.items()) for r in results.records)
