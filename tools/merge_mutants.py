import json,subprocess,sys
def load(ref): return json.loads(subprocess.check_output(['git','show',ref+':tests/mutants/mutants.json'] if not ref.startswith(':') else ['git','show',ref+':tests/mutants/mutants.json']))
base,ours,theirs=(load(':%d'%i) for i in (1,2,3))
key=lambda m:m['why']
b={key(m):m for m in base}; t={key(m):m for m in theirs}; o={key(m):m for m in ours}
out=[]
for m in ours:
    k=key(m)
    if k in t and k in b and t[k]!=b[k]:
        merged=dict(m)
        for f in m:
            if t[k].get(f)!=b[k].get(f): merged[f]=t[k][f] if m[f]==b[k].get(f) else m[f]
        out.append(merged)
    elif k in b and k not in t: continue
    else: out.append(m)
out+=[m for m in theirs if key(m) not in b and key(m) not in o]
json.dump(out,open('tests/mutants/mutants.json','w'),indent=2,ensure_ascii=False); open('tests/mutants/mutants.json','a').write('\n')
print(len(base),len(ours),len(theirs),len(out))
